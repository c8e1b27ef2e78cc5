package history

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// Recorder collects the operations of a run by topic, and counts them. Its
// methods may be called concurrently.
type Recorder struct {
	start time.Time

	mu       sync.Mutex
	n        int64
	topics   map[string][]*Op
	outcomes map[string]map[string]int64 // by kind and outcome
	failures map[string]int64            // by status and code
	faults   map[string]int64
	failed   int64           // answers that were failures, but for those about topics in racing
	racing   map[string]bool // topics that are created and deleted all the time, which makes some calls fail
	out      *bufio.Writer   // nil: operations are not written
	err      error           // first error of out
}

// Totals are the counts of a run.
type Totals struct {
	Operations int64
	Outcomes   map[string]map[string]int64 // calls by kind and outcome
	Failures   map[string]int64            // calls that failed or had no answer, by status and code
	Faults     map[string]int64            // by name
}

// NewRecorder returns a recorder whose clock starts now. If out is not nil, it
// gets every operation as a line of JSON; call [Recorder.Flush] at the end.
func NewRecorder(out io.Writer) *Recorder {
	r := &Recorder{
		start:    time.Now(),
		topics:   make(map[string][]*Op),
		outcomes: make(map[string]map[string]int64),
		failures: make(map[string]int64),
		faults:   make(map[string]int64),
		racing:   make(map[string]bool),
	}
	if out != nil {
		r.out = bufio.NewWriterSize(out, 1<<20)
	}
	return r
}

// Now returns the nanoseconds since the run began.
func (r *Recorder) Now() int64 { return int64(time.Since(r.start)) }

// Add records an operation that has ended, and numbers it. An operation that was
// not sent is only counted.
func (r *Recorder) Add(op *Op) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.n++
	op.N = r.n
	r.count(op)
	if op.Outcome == Unreachable {
		return
	}

	if op.Topic != "" {
		r.topics[op.Topic] = append(r.topics[op.Topic], op)
	}
	if r.out != nil && r.err == nil {
		r.err = Write(r.out, op)
	}
}

func (r *Recorder) count(op *Op) {
	switch op.Kind {
	case OpScene:
		r.racing[op.Topic] = op.Name == "life"
		return
	case OpEnd:
		delete(r.racing, op.Topic)
		return
	case OpStuck:
		return
	case OpFault:
		r.faults[op.Name]++
		return
	}

	if r.outcomes[op.Kind] == nil {
		r.outcomes[op.Kind] = make(map[string]int64)
	}
	r.outcomes[op.Kind][op.Outcome]++
	if op.Outcome == Unknown || op.Status >= 500 {
		r.failures[fmt.Sprintf("%d %s", op.Status, op.Code)]++
		if op.Status > 0 && op.Code != "topic_busy" && !r.racing[op.Topic] {
			r.failed++
		}
	}
}

// CountFault counts a fault that is not recorded as an operation.
func (r *Recorder) CountFault(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[name]++
}

// Take removes the history of a topic from the recorder and returns it.
func (r *Recorder) Take(topic string) []*Op {
	r.mu.Lock()
	defer r.mu.Unlock()

	ops := r.topics[topic]
	delete(r.topics, topic)
	return ops
}

// Topics returns the names of the topics whose history was not taken, sorted.
func (r *Recorder) Topics() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.topics))
}

// Operations returns the number of operations so far.
func (r *Recorder) Operations() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// Answers returns how many calls the brokers have failed so far, and how many
// have succeeded. Calls without an answer are in neither, nor are failures about topics
// that are created and deleted all the time.
func (r *Recorder) Answers() (failed, succeeded int64) {
	r.mu.Lock()
	defer r.mu.Unlock()

	for _, outcomes := range r.outcomes {
		succeeded += outcomes[OK]
	}
	return r.failed, succeeded
}

// Totals returns the counts so far.
func (r *Recorder) Totals() Totals {
	r.mu.Lock()
	defer r.mu.Unlock()

	outcomes := make(map[string]map[string]int64, len(r.outcomes))
	for kind, counts := range r.outcomes {
		outcomes[kind] = maps.Clone(counts)
	}
	return Totals{Operations: r.n, Outcomes: outcomes, Failures: maps.Clone(r.failures), Faults: maps.Clone(r.faults)}
}

// Flush writes what is buffered, and returns the first error of writing.
func (r *Recorder) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()

	if r.out != nil && r.err == nil {
		r.err = r.out.Flush()
	}
	return r.err
}
