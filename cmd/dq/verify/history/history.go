package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The kinds of operations.
const (
	OpCreateTopic      = "create topic"      // POST /topics
	OpEnsureTopic      = "ensure topic"      // PUT /v1/topics/T
	OpDescribeTopic    = "describe topic"    // GET /v1/topics/T
	OpDeleteTopic      = "delete topic"      // DELETE /v1/topics/T
	OpRegisterProducer = "register producer" // POST /producer/register
	OpRegisterConsumer = "register consumer" // POST /consumer/register
	OpCreateConsumer   = "create consumer"   // POST /v1/topics/T/consumers
	OpDescribeConsumer = "describe consumer" // GET /v1/topics/T/consumers/NAME
	OpProduce          = "produce"           // POST /producer/produce
	OpAppend           = "append"            // POST /v1/topics/T/messages, one or a batch
	OpConsume          = "consume"           // GET /consumer/consume
	OpFetch            = "fetch"             // POST /v1/topics/T/consumers/ID/fetch
	OpStream           = "stream"            // GET /v1/topics/T/consumers/ID/stream, one connection
	OpAck              = "ack"
	OpNack             = "nack"
	OpExtend           = "extend"
	OpSize             = "size"   // GET /size
	OpBrowse           = "browse" // GET /v1/topics/T/messages
	OpGet              = "get"    // GET /v1/topics/T/messages/SEQUENCE
	OpProbe            = "probe"  // a call that is to be refused with the code in Name
	OpStuck            = "stuck"  // no operation: what Name says did not come about
	OpFault            = "fault"  // no operation: what Name says was broken
	OpEnd              = "end"    // no operation: the history of the topic is complete
)

// The outcomes of operations.
const (
	OK          = "ok"
	Refused     = "refused"     // it had no effect
	Unknown     = "unknown"     // it may have had one, or may have one still
	Unreachable = "unreachable" // it was not sent; such operations are counted only
)

// never is later than all times of a history.
const Never = math.MaxInt64

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
func Payload(name string) string {
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
func NameOf(text string) string {
	if name, _, _ := strings.Cut(text, ":"); Payload(name) == text {
		return name
	}
	return fmt.Sprintf("%.60q of %d bytes", text, len(text))
}

// recorder keeps the history of a run.
type Recorder struct {
	start time.Time

	mu     sync.Mutex
	n      int64
	Topics map[string][]*Op
	Counts map[string]map[string]int64 // by kind and outcome
	Codes  map[string]int64            // of what is unknown or failed, by status and code
	Faults map[string]int64
	out    *bufio.Writer // nil: nothing is written
	err    error         // of out
}

func NewRecorder(out io.Writer) *Recorder {
	r := &Recorder{
		start: time.Now(), Topics: make(map[string][]*Op),
		Counts: make(map[string]map[string]int64), Codes: make(map[string]int64), Faults: make(map[string]int64),
	}
	if out != nil {
		r.out = bufio.NewWriterSize(out, 1<<20)
	}
	return r
}

func (r *Recorder) Now() int64 { return int64(time.Since(r.start)) }

// add takes down an operation that is over.
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
		r.Topics[op.Topic] = append(r.Topics[op.Topic], op)
	}
	if r.out != nil && r.err == nil {
		r.err = Write(r.out, op)
	}
}

func (r *Recorder) count(op *Op) {
	switch op.Kind {
	case OpEnd, OpStuck:
		return
	case OpFault:
		r.Faults[op.Name]++
		return
	}
	if r.Counts[op.Kind] == nil {
		r.Counts[op.Kind] = make(map[string]int64)
	}
	r.Counts[op.Kind][op.Outcome]++
	if op.Outcome == Unknown || op.Status >= 500 {
		r.Codes[fmt.Sprintf("%d %s", op.Status, op.Code)]++
	}
}

// fault counts a fault that is not taken down as an operation.
func (r *Recorder) Fault(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Faults[name]++
}

// take takes the history of a topic out of the recorder.
func (r *Recorder) Take(topic string) []*Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	ops := r.Topics[topic]
	delete(r.Topics, topic)
	return ops
}

func (r *Recorder) Operations() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// failures is how many calls the brokers have failed, and have done.
func (r *Recorder) Failures() (failed, done int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for code, n := range r.Codes {
		if !strings.HasPrefix(code, "0 ") { // there was an answer
			failed += n
		}
	}
	for _, outcomes := range r.Counts {
		done += outcomes[OK]
	}
	return failed, done
}

func (r *Recorder) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.out != nil && r.err == nil {
		r.err = r.out.Flush()
	}
	return r.err
}

func Write(w io.Writer, op *Op) error {
	line, err := json.Marshal(op)
	if err == nil {
		_, err = w.Write(append(line, '\n'))
	}
	return err
}

// turnedAway says that the broker refused op before it did anything for it, and
// may take it later.
func TurnedAway(op *Op) bool {
	switch op.Code {
	case "overloaded", "rate_limited", "quota_exceeded", "storage_full":
		return true
	}
	return op.Status == http.StatusTooManyRequests
}

// The faults that brokers of a run's own can be given.
const (
	FaultKill    = "kill"    // SIGKILL, and a start a moment later
	FaultRestart = "restart" // SIGTERM, and a start as soon as it has ended
	FaultPause   = "pause"   // SIGSTOP for longer than the clients wait, then SIGCONT
	FaultDisk    = "disk"    // the disk is full until messages are refused, and for a while
	FaultFiles   = "files"   // idle clients take all file descriptors that the broker has left, for a while
	FaultClients = "clients" // clients hang up before the answer; see [Options.HangUp]
)

// AllFaults are all faults.
var AllFaults = []string{FaultKill, FaultRestart, FaultPause, FaultDisk, FaultFiles, FaultClients}

// String tells op on one line, for people.
func (op *Op) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%12.6fs to %12.6fs  %-8s facade %d  %s", float64(op.Call)/1e9, float64(op.Return)/1e9, op.Worker, op.Facade, op.Kind)
	say := func(name string, value any, there bool) {
		if there {
			fmt.Fprintf(&out, " %s=%v", name, value)
		}
	}
	switch op.Kind {
	case OpProduce, OpConsume, OpFetch, OpStream, OpAck, OpNack, OpExtend, OpSize:
		say("id", op.ID, true)
	}
	say("name", strconv.Quote(op.Name), op.Name != "")
	say("mode", op.Mode, op.Mode != "")
	say("from", op.From, op.From > 0)
	say("limit", op.Limit, op.Limit > 0)
	say("key", op.Key, op.Key != "")
	say("atomic", op.Atomic, op.Atomic)
	say("data", op.Data, len(op.Data) > 0)
	say("tokens", op.Tokens, len(op.Tokens) > 0)
	fmt.Fprintf(&out, " -> %s", op.Outcome)
	say("status", op.Status, op.Status > 0 && op.Outcome != OK)
	say("code", op.Code, op.Code != "")
	switch op.Kind {
	case OpRegisterProducer, OpRegisterConsumer, OpCreateConsumer, OpDescribeConsumer:
		say("id", op.ID, op.Outcome == OK)
	case OpSize:
		say("size", op.Size, op.Outcome == OK)
	}
	say("lost", op.Lost, len(op.Lost) > 0)
	say("got", brief(op.Got), len(op.Got) > 0)
	say("receipts", op.Receipt, len(op.Receipt) > 0)
	return out.String()
}

// brief is messages in few words.
func brief(messages []Message) string {
	const most = 12
	var words []string
	for i, m := range messages {
		if i == most && len(messages) > most+1 {
			words = append(words, fmt.Sprintf("and %d more", len(messages)-i))
			break
		}
		word := m.Data
		if m.Sequence > 0 {
			word += fmt.Sprintf("@%d", m.Sequence)
		}
		if m.Deliveries > 0 {
			word += fmt.Sprintf("#%d", m.Deliveries)
		}
		words = append(words, word)
	}
	return "[" + strings.Join(words, " ") + "]"
}
