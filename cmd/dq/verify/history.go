package verify

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"
)

// The kinds of operations.
const (
	opCreateTopic      = "create topic"      // POST /topics
	opEnsureTopic      = "ensure topic"      // PUT /v1/topics/T
	opDescribeTopic    = "describe topic"    // GET /v1/topics/T
	opDeleteTopic      = "delete topic"      // DELETE /v1/topics/T
	opRegisterProducer = "register producer" // POST /producer/register
	opRegisterConsumer = "register consumer" // POST /consumer/register
	opCreateConsumer   = "create consumer"   // POST /v1/topics/T/consumers
	opDescribeConsumer = "describe consumer" // GET /v1/topics/T/consumers/NAME
	opProduce          = "produce"           // POST /producer/produce
	opAppend           = "append"            // POST /v1/topics/T/messages, one or a batch
	opConsume          = "consume"           // GET /consumer/consume
	opFetch            = "fetch"             // POST /v1/topics/T/consumers/ID/fetch
	opStream           = "stream"            // GET /v1/topics/T/consumers/ID/stream, one connection
	opAck              = "ack"
	opNack             = "nack"
	opExtend           = "extend"
	opSize             = "size"   // GET /size
	opBrowse           = "browse" // GET /v1/topics/T/messages
	opGet              = "get"    // GET /v1/topics/T/messages/SEQUENCE
	opProbe            = "probe"  // a call that is to be refused with the code in Name
	opStuck            = "stuck"  // no operation: what Name says did not come about
	opFault            = "fault"  // no operation: what Name says was broken
	opEnd              = "end"    // no operation: the history of the topic is complete
)

// The outcomes of operations.
const (
	ok          = "ok"
	refused     = "refused"     // it had no effect
	unknown     = "unknown"     // it may have had one, or may have one still
	unreachable = "unreachable" // it was not sent; such operations are counted only
)

// never is later than all times of a history.
const never = math.MaxInt64

// An Op is one operation: what was asked, when, and what came of it.
type Op struct {
	N       int64  `json:"n"`
	Worker  string `json:"worker"`
	Facade  int    `json:"facade,omitempty"`
	Topic   string `json:"topic,omitempty"`
	Kind    string `json:"kind"`
	Call    int64  `json:"call"` // nanoseconds of the run, on a clock that does not jump
	Return  int64  `json:"return"`
	Outcome string `json:"outcome"`
	Status  int    `json:"status,omitempty"` // of HTTP; 0 if there was no answer
	Code    string `json:"code,omitempty"`

	ID      int64         `json:"id,omitempty"`   // of a producer or consumer
	Name    string        `json:"name,omitempty"` // of a consumer
	Mode    string        `json:"mode,omitempty"` // of a consumer: auto, lease or stream
	Lease   time.Duration `json:"lease,omitempty"`
	First   bool          `json:"first,omitempty"`  // the consumer starts at the first message
	Made    bool          `json:"made,omitempty"`   // 201: it was not there before
	Data    []string      `json:"data,omitempty"`   // what was sent
	Key     string        `json:"key,omitempty"`    // of idempotency
	Atomic  bool          `json:"atomic,omitempty"` //
	From    uint64        `json:"from,omitempty"`
	Limit   int           `json:"limit,omitempty"`
	Tokens  []string      `json:"tokens,omitempty"`
	Lost    []string      `json:"lost,omitempty"` // of Tokens, those without a lease
	Size    int64         `json:"size,omitempty"`
	Final   bool          `json:"final,omitempty"` // it is part of the replay after everything else
	Got     []Message     `json:"got,omitempty"`
	Receipt []Receipt     `json:"receipt,omitempty"`
}

// A Message is what a consumer or reader got.
type Message struct {
	Sequence   uint64 `json:"sequence,omitempty"`
	Data       string `json:"data"`
	Token      string `json:"token,omitempty"`
	Deliveries int    `json:"deliveries,omitempty"`
	At         int64  `json:"at,omitempty"` // of a stream: when it came
}

// A Receipt is what became of a message that was appended.
type Receipt struct {
	Sequence  uint64 `json:"sequence,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"`
	Code      string `json:"code,omitempty"`
}

// payload is the message that stands for name, of a length that name decides.
func payload(name string) string {
	hash := 0
	for _, c := range name {
		hash = (hash*31 + int(c)) % 9973
	}
	length := hash % 60
	if hash%97 == 0 {
		length = 3 * hash // now and then a large one
	}
	return name + ":" + strings.Repeat("dq", length)
}

// nameOf is the inverse of payload. Something else stands for itself, cut short.
func nameOf(text string) string {
	if name, _, _ := strings.Cut(text, ":"); payload(name) == text {
		return name
	}
	return fmt.Sprintf("%.60q of %d bytes", text, len(text))
}

// recorder keeps the history of a run.
type recorder struct {
	start time.Time

	mu     sync.Mutex
	n      int64
	topics map[string][]*Op
	counts map[string]map[string]int64 // by kind and outcome
	codes  map[string]int64            // of what is unknown or failed, by status and code
	faults map[string]int64
	out    *bufio.Writer // nil: nothing is written
	err    error         // of out
}

func newRecorder(out io.Writer) *recorder {
	r := &recorder{
		start: time.Now(), topics: make(map[string][]*Op),
		counts: make(map[string]map[string]int64), codes: make(map[string]int64), faults: make(map[string]int64),
	}
	if out != nil {
		r.out = bufio.NewWriterSize(out, 1<<20)
	}
	return r
}

func (r *recorder) now() int64 { return int64(time.Since(r.start)) }

// add takes down an operation that is over.
func (r *recorder) add(op *Op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	op.N = r.n
	r.count(op)
	if op.Outcome == unreachable {
		return
	}
	if op.Topic != "" {
		r.topics[op.Topic] = append(r.topics[op.Topic], op)
	}
	if r.out != nil && r.err == nil {
		r.err = write(r.out, op)
	}
}

func (r *recorder) count(op *Op) {
	switch op.Kind {
	case opEnd, opStuck:
		return
	case opFault:
		r.faults[op.Name]++
		return
	}
	if r.counts[op.Kind] == nil {
		r.counts[op.Kind] = make(map[string]int64)
	}
	r.counts[op.Kind][op.Outcome]++
	if op.Outcome == unknown || op.Status >= 500 {
		r.codes[fmt.Sprintf("%d %s", op.Status, op.Code)]++
	}
}

// fault counts a fault that is not taken down as an operation.
func (r *recorder) fault(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[name]++
}

// take takes the history of a topic out of the recorder.
func (r *recorder) take(topic string) []*Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	ops := r.topics[topic]
	delete(r.topics, topic)
	return ops
}

func (r *recorder) operations() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// failures is how many calls the brokers have failed, and have done.
func (r *recorder) failures() (failed, done int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for code, n := range r.codes {
		if !strings.HasPrefix(code, "0 ") { // there was an answer
			failed += n
		}
	}
	for _, outcomes := range r.counts {
		done += outcomes[ok]
	}
	return failed, done
}

func (r *recorder) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.out != nil && r.err == nil {
		r.err = r.out.Flush()
	}
	return r.err
}

func write(w io.Writer, op *Op) error {
	line, err := json.Marshal(op)
	if err == nil {
		_, err = w.Write(append(line, '\n'))
	}
	return err
}
