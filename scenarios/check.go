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

// Report is how what a plan's consumers wrote compares with what its producers
// sent.
type Report struct {
	Plan     string
	Produced int      // lines, by all producers
	Results  []Result // in the order of the plan's consumers and their topics
	Faults   []string // everything that is wrong, each with its place
}

// Result is what one consumer got of one topic.
type Result struct {
	Consumer  int
	Topic     string
	Producers []int
	Produced  int // lines, by all producers
	Consumed  int // lines
	// Missing and Surplus count the lines of each message that are too few and
	// too many.
	Missing, Surplus map[string]int
	OK               bool
}

// OK reports whether nothing differs.
func (r Report) OK() bool { return len(r.Faults) == 0 }

// Check compares the consumers' log files in dir with the producers' log files
// there. It checks that
//   - every line of a consumer's file has the right format and is of a topic of
//     that consumer,
//   - each consumer's messages of a topic are an interleaving of its producers'
//     messages of that topic: every one once, each producer's in its order,
//   - all consumers of a topic saw the same messages in the same order.
//
// What differs stands in the report. The error is for a file that could not be
// read and for a producer's file that has another format.
func Check(plan Plan, dir string) (Report, error) {
	produced := make(map[int]map[string][]string) // by producer, by topic
	for _, producer := range plan.Producers {
		messages, err := readProduced(runner.ProducerFile(dir, producer.ID), producer.Topics)
		if err != nil {
			return Report{}, err
		}
		produced[producer.ID] = messages
	}
	report := Report{Plan: plan.Name, Produced: plan.Produced()}
	firsts := make(map[string]consumedFile) // the first consumer of each topic
	for _, consumer := range plan.Consumers {
		file, err := readConsumed(runner.ConsumerFile(dir, consumer.ID), consumer.Topics)
		if err != nil {
			return Report{}, err
		}
		report.Faults = append(report.Faults, file.faults...)
		for _, topic := range consumer.Topics {
			result := Result{Consumer: consumer.ID, Topic: topic}
			var parts [][]string
			for _, producer := range plan.producersOf(topic) {
				result.Producers = append(result.Producers, producer.ID)
				parts = append(parts, produced[producer.ID][topic])
			}
			fault, err := compare(&result, file, parts)
			if err != nil {
				return Report{}, err
			}
			if !result.OK {
				report.Faults = append(report.Faults, fault)
			}
			report.Results = append(report.Results, result)
			first, ok := firsts[topic]
			if !ok {
				firsts[topic] = file
			} else if fault, same := sameOrder(first, file, topic); !same {
				report.Faults = append(report.Faults, fault)
			}
		}
	}
	return report, nil
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

// consumedFile is what a consumer wrote.
type consumedFile struct {
	name     string
	messages map[string][]string // by topic
	numbers  map[string][]int    // the line of each message, from 1
	faults   []string
}

// place is where message i of topic stands, or where it would.
func (f consumedFile) place(topic string, i int) string {
	if i == len(f.numbers[topic]) {
		return f.name + ": at the end"
	}
	return fmt.Sprintf("%s:%d", f.name, f.numbers[topic][i])
}

func readConsumed(name string, topics []string) (consumedFile, error) {
	f := consumedFile{name: filepath.Base(name), messages: make(map[string][]string), numbers: make(map[string][]int)}
	file, err := os.Open(name)
	if err != nil {
		return f, err
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 2*runner.MaxLineBytes) // a topic and a message, both from a producer's line
	strange := 0
	for number := 1; scanner.Scan(); number++ {
		topic, message, ok := runner.ParseConsumed(scanner.Text())
		switch {
		case ok && slices.Contains(topics, topic):
			f.messages[topic] = append(f.messages[topic], message)
			f.numbers[topic] = append(f.numbers[topic], number)
			continue
		case strange > 0: // the first one tells enough
		case ok:
			f.faults = append(f.faults, fmt.Sprintf("%s:%d: topic %.100q is none of this consumer's", f.name, number, topic))
		default:
			f.faults = append(f.faults, fmt.Sprintf("%s:%d: %.100q is no line of topic, five spaces, message", f.name, number, scanner.Text()))
		}
		strange++
	}
	if strange > 1 {
		f.faults = append(f.faults, fmt.Sprintf("%s: %d more lines like that", f.name, strange-1))
	}
	if err := scanner.Err(); err != nil {
		return f, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// compare fills in what consumer and topic of result got, and says what is
// wrong with it.
func compare(result *Result, file consumedFile, parts [][]string) (fault string, err error) {
	topic := result.Topic
	consumed := file.messages[topic]
	balance := make(map[string]int)
	for _, message := range slices.Concat(parts...) {
		balance[message]++
		result.Produced++
	}
	for _, message := range consumed {
		balance[message]--
		result.Consumed++
	}
	result.Missing, result.Surplus = make(map[string]int), make(map[string]int)
	for message, n := range balance {
		if n > 0 {
			result.Missing[message] = n
		} else if n < 0 {
			result.Surplus[message] = -n
		}
	}
	n, next, err := interleaving(consumed, parts)
	if err != nil {
		return "", fmt.Errorf("topic %s: %w", topic, err)
	}
	possible := "the end of " + topic
	if len(next) > 0 {
		possible = strings.Join(next, " or ")
	}
	switch {
	case n < len(consumed):
		return fmt.Sprintf("%s: found %.100s of topic %s, possible was %s", file.place(topic, n), consumed[n], topic, possible), nil
	case len(next) > 0:
		return fmt.Sprintf("%s: found no more of topic %s, possible was %s", file.place(topic, n), topic, possible), nil
	}
	result.OK = true
	return "", nil
}

// sameOrder compares what two consumers got of a topic.
func sameOrder(a, b consumedFile, topic string) (fault string, same bool) {
	left, right := a.messages[topic], b.messages[topic]
	n := 0
	for n < len(left) && n < len(right) && left[n] == right[n] {
		n++
	}
	if n == len(left) && n == len(right) {
		return "", true
	}
	return fmt.Sprintf("topic %s: another order: %s, %s", topic, a.found(topic, n), b.found(topic, n)), false
}

// found is message i of topic and its place.
func (f consumedFile) found(topic string, i int) string {
	if i == len(f.messages[topic]) {
		return f.place(topic, i) + " no more"
	}
	return fmt.Sprintf("%s %.100s", f.place(topic, i), f.messages[topic][i])
}

// Write writes the report as a table and a line for each fault.
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
		row := "ok"
		if !result.OK {
			row = "DIFFERS"
		}
		t.AppendRow(table.Row{
			"C" + strconv.Itoa(result.Consumer), result.Topic, strings.Join(producers, " "),
			result.Produced, result.Consumed, counts(result.Missing), counts(result.Surplus), row,
		})
	}
	_, err := fmt.Fprintf(w, "%s\n%s\n", t.Render(), r.summary())
	for _, fault := range r.Faults {
		_, faultErr := fmt.Fprintln(w, fault)
		err = cmp.Or(err, faultErr)
	}
	return err
}

// summary is the verdict and how many lines each consumer got.
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

// counts is a number for each message, in one cell. If there are many kinds it
// is their sum.
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

// ErrDiffers is the error of a command whose report has faults.
var ErrDiffers = errors.New("what was consumed is not what was produced")
