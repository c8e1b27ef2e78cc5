package scenarios

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"dq/scenarios/runner"
)

// Report says how the files that a plan's consumers wrote compare with what its
// producers sent.
type Report struct {
	Plan     string
	Produced int      // lines, by all producers
	Results  []Result // in the order of the plan's consumers and their topics
	Faults   []string // every difference, each with its file and line
}

// Result says what one consumer got of one topic.
type Result struct {
	Consumer  int
	Topic     string
	Producers []int
	Produced  int // lines, by all producers
	Consumed  int // lines
	// Missing and Surplus count, for each message, how many lines are too few and
	// too many.
	Missing, Surplus map[string]int
	OK               bool
}

// OK reports whether nothing differs.
func (r Report) OK() bool { return len(r.Faults) == 0 }

// Check compares the consumers' log files in dir with the producers' log files
// there. It checks that
//   - every line of a consumer's file has the right format and a topic of that
//     consumer,
//   - each consumer's messages of a topic are an interleaving of its producers'
//     messages of that topic: each one exactly once, those of one producer in order,
//   - all consumers of a topic saw the same messages in the same order.
//
// Differences go into the report. Errors: a file that cannot be read, and a producer's
// file with another format.
func Check(plan Plan, dir string) (Report, error) {
	c := checker{
		plan: plan, dir: dir, first: make(map[string]consumedFile),
		report: Report{Plan: plan.Name, Produced: plan.Produced()},
	}
	if err := c.readProduced(); err != nil {
		return Report{}, err
	}

	for _, consumer := range plan.Consumers {
		if err := c.check(consumer); err != nil {
			return Report{}, err
		}
	}
	return c.report, nil
}

// checker checks the consumers of a plan one after the other.
type checker struct {
	plan     Plan
	dir      string
	produced map[int]map[string][]string // messages, by producer and topic
	first    map[string]consumedFile     // by topic: the file of its first consumer
	report   Report
}

// readProduced reads the files of all producers.
func (c *checker) readProduced() error {
	c.produced = make(map[int]map[string][]string)
	for _, producer := range c.plan.Producers {
		messages, err := readProduced(runner.ProducerFile(c.dir, producer.ID), producer.Topics)
		if err != nil {
			return err
		}
		c.produced[producer.ID] = messages
	}
	return nil
}

// check compares the file of one consumer with what was produced, and with the file
// of the first consumer of each topic.
func (c *checker) check(consumer Consumer) error {
	file, err := readConsumed(runner.ConsumerFile(c.dir, consumer.ID), consumer.Topics)
	if err != nil {
		return err
	}
	c.report.Faults = append(c.report.Faults, file.faults...)

	for _, topic := range consumer.Topics {
		result, fault, err := c.compare(consumer, topic, file)
		if err != nil {
			return err
		}
		c.report.Results = append(c.report.Results, result)
		if !result.OK {
			c.report.Faults = append(c.report.Faults, fault)
		}

		first, ok := c.first[topic]
		if !ok {
			c.first[topic] = file
		} else if fault, same := sameOrder(first, file, topic); !same {
			c.report.Faults = append(c.report.Faults, fault)
		}
	}
	return nil
}

// compare returns what the consumer got of a topic and, if that is not OK, the first
// difference.
func (c *checker) compare(consumer Consumer, topic string, file consumedFile) (_ Result, fault string, _ error) {
	result := Result{Consumer: consumer.ID, Topic: topic}
	var parts [][]string
	for _, producer := range c.plan.producersOf(topic) {
		result.Producers = append(result.Producers, producer.ID)
		parts = append(parts, c.produced[producer.ID][topic])
	}
	consumed := file.messages[topic]
	result.count(slices.Concat(parts...), consumed)

	n, next, err := interleaving(consumed, parts)
	if err != nil {
		return result, "", fmt.Errorf("topic %s: %w", topic, err)
	}

	want := "the end of " + topic
	if len(next) > 0 {
		want = strings.Join(next, " or ")
	}
	switch {
	case n < len(consumed):
		fault = fmt.Sprintf("%s: found %.100s of topic %s, want %s", file.line(topic, n), consumed[n], topic, want)
	case len(next) > 0:
		fault = fmt.Sprintf("%s: found no more of topic %s, want %s", file.line(topic, n), topic, want)
	default:
		result.OK = true
	}
	return result, fault, nil
}

// count sets the counts of a result.
func (r *Result) count(produced, consumed []string) {
	r.Produced, r.Consumed = len(produced), len(consumed)
	balance := make(map[string]int)
	for _, message := range produced {
		balance[message]++
	}
	for _, message := range consumed {
		balance[message]--
	}

	r.Missing, r.Surplus = make(map[string]int), make(map[string]int)
	for message, n := range balance {
		if n > 0 {
			r.Missing[message] = n
		} else if n < 0 {
			r.Surplus[message] = -n
		}
	}
}

// sameOrder reports whether two consumers got the same messages of a topic in the
// same order, and returns the first difference.
func sameOrder(a, b consumedFile, topic string) (fault string, same bool) {
	left, right := a.messages[topic], b.messages[topic]
	n := 0
	for n < len(left) && n < len(right) && left[n] == right[n] {
		n++
	}

	if n == len(left) && n == len(right) {
		return "", true
	}
	return fmt.Sprintf("topic %s: the orders differ: %s, %s", topic, a.found(topic, n), b.found(topic, n)), false
}

// readProduced returns the messages of a producer's file, by topic.
func readProduced(name string, topics []string) (map[string][]string, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()

	messages := make(map[string][]string)
	for line, err := range runner.Lines(file, name, topics) {
		if err != nil {
			return nil, err
		}
		messages[line.Topic] = append(messages[line.Topic], line.Message)
	}
	return messages, nil
}

// consumedFile is the content of a consumer's file.
type consumedFile struct {
	name     string
	messages map[string][]string // by topic
	numbers  map[string][]int    // by topic: the line of each message, from 1
	faults   []string
}

// line says on which line message i of topic is, or that the file ends before it.
func (f consumedFile) line(topic string, i int) string {
	if i == len(f.numbers[topic]) {
		return f.name + ": at the end"
	}
	return fmt.Sprintf("%s:%d", f.name, f.numbers[topic][i])
}

// found returns message i of topic with its line.
func (f consumedFile) found(topic string, i int) string {
	if i == len(f.messages[topic]) {
		return f.line(topic, i) + " no more"
	}
	return fmt.Sprintf("%s %.100s", f.line(topic, i), f.messages[topic][i])
}

// readConsumed reads the file of a consumer of these topics.
func readConsumed(name string, topics []string) (consumedFile, error) {
	f := consumedFile{name: filepath.Base(name), messages: make(map[string][]string), numbers: make(map[string][]int)}
	file, err := os.Open(name)
	if err != nil {
		return f, err
	}
	defer file.Close()

	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 2*runner.MaxLineBytes) // a topic and a message, both from a producer's line
	wrong := 0
	for number := 1; scanner.Scan(); number++ {
		topic, message, ok := runner.ParseConsumed(scanner.Text())
		if ok && slices.Contains(topics, topic) {
			f.messages[topic] = append(f.messages[topic], message)
			f.numbers[topic] = append(f.numbers[topic], number)
			continue
		}

		wrong++
		if wrong == 1 { // the first one is enough to find the cause
			f.faults = append(f.faults, f.wrongLine(number, scanner.Text()))
		}
	}
	if wrong > 1 {
		f.faults = append(f.faults, fmt.Sprintf("%s: %d more lines like that", f.name, wrong-1))
	}

	if err := scanner.Err(); err != nil {
		return f, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// wrongLine says what is wrong with a line that is not of a topic of the consumer.
func (f consumedFile) wrongLine(number int, line string) string {
	if topic, _, ok := runner.ParseConsumed(line); ok {
		return fmt.Sprintf("%s:%d: topic %.100q is not one of this consumer's", f.name, number, topic)
	}
	return fmt.Sprintf("%s:%d: invalid line %.100q: want topic, five spaces, message", f.name, number, line)
}

// Write writes the report as a table, a summary, and a line for each fault.
func (r Report) Write(w io.Writer) error {
	t := table.NewWriter()
	t.SetTitle("%s", r.Plan)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{"consumer", "topic", "producers", "produced", "consumed", "missing", "surplus", "result"})

	for _, result := range r.Results {
		var producers []string
		for _, id := range result.Producers {
			producers = append(producers, "P"+strconv.Itoa(id))
		}
		verdict := "ok"
		if !result.OK {
			verdict = "DIFFERS"
		}

		t.AppendRow(table.Row{
			"C" + strconv.Itoa(result.Consumer), result.Topic, strings.Join(producers, " "),
			result.Produced, result.Consumed, counts(result.Missing), counts(result.Surplus), verdict,
		})
	}

	_, err := fmt.Fprintf(w, "%s\n%s\n", t.Render(), r.summary())
	for _, fault := range r.Faults {
		_, faultErr := fmt.Fprintln(w, fault)
		err = cmp.Or(err, faultErr)
	}
	return err
}

// summary returns the verdict and how many lines each consumer got.
func (r Report) summary() string {
	verdict := "ok"
	if !r.OK() {
		verdict = "DIFFERS"
	}

	var got []string
	for i := 0; i < len(r.Results); {
		consumer, lines := r.Results[i].Consumer, 0
		for ; i < len(r.Results) && r.Results[i].Consumer == consumer; i++ {
			lines += r.Results[i].Consumed
		}
		got = append(got, fmt.Sprintf("C%d got %d", consumer, lines))
	}
	return fmt.Sprintf("%s %s: %d lines were produced, %s", r.Plan, verdict, r.Produced, strings.Join(got, ", "))
}

// counts writes the number of each message in one cell, or the sum of them if there
// are more messages than levels.
func counts(n map[string]int) string {
	if len(n) > len(levels) {
		sum := 0
		for _, lines := range n {
			sum += lines
		}
		return strconv.Itoa(sum)
	}

	var cells []string
	for _, message := range slices.Sorted(maps.Keys(n)) {
		cells = append(cells, fmt.Sprintf("%.20s %d", message, n[message]))
	}
	if len(cells) == 0 {
		return "0"
	}
	return strings.Join(cells, ", ")
}

// ErrDiffers reports that a check found faults.
var ErrDiffers = errors.New("the consumed messages are not the produced ones")
