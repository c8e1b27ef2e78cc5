package check

import (
	"cmp"
	"fmt"
	"slices"

	"dq/cmd/dq/verify/history"
)

// The checks, by the promise that they check.
const (
	checkLost       = "lost"       // what was answered with success is in the topic, and every consumer gets it
	checkDuplicate  = "duplicate"  // nothing is stored twice, or handed out twice in mode auto
	checkPhantom    = "phantom"    // nothing is there that was never sent, was refused, or was before a consumer's start
	checkOrder      = "order"      // one order for all, that of the calls where they did not overlap
	checkStale      = "stale"      // what was answered with success is there at once, for everybody
	checkSize       = "size"       // is exact
	checkReplay     = "replay"     // reading by sequence shows what consumers got
	checkAtomic     = "atomic"     // a batch is stored as a whole or not at all
	checkIdempotent = "idempotent" // a message with a key is stored once, however often it is sent
	checkLease      = "lease"      // one worker has a message at a time, and delivery counts rise
	checkAck        = "ack"        // what was acknowledged does not come again
	checkIDs        = "ids"        // unique, never used again, none skipped
	checkRegistry   = "registry"   // registrations are linearizable
	checkNames      = "names"      // making and deleting topics and named consumers is linearizable
	checkAnswers    = "answers"    // refusals are those that the call has, failures are 503 (500 in the classic API)
	checkProgress   = "progress"   // when the faults are over, all gets done
)

var AllChecks = []string{
	checkLost, checkDuplicate, checkPhantom, checkOrder, checkStale, checkSize, checkReplay, checkAtomic, checkIdempotent,
	checkLease, checkAck, checkIDs, checkRegistry, checkNames, checkAnswers, checkProgress,
}

// A Violation is a promise that was not kept.
type Violation struct {
	Check string        `json:"check"`
	Topic string        `json:"topic,omitempty"`
	Text  string        `json:"text"`
	Ops   []*history.Op `json:"history"` // the smallest history that shows it
}

// findings is what checks found.
type Findings struct {
	Checked    map[string]int64
	Violations []Violation
}

func NewFindings() *Findings { return &Findings{Checked: make(map[string]int64)} }

func (f *Findings) count(check string, n int) { f.Checked[check] += int64(n) }

func (f *Findings) fail(check, topic string, ops []*history.Op, format string, args ...any) {
	ops = slices.DeleteFunc(slices.Clone(ops), func(op *history.Op) bool { return op == nil })
	slices.SortStableFunc(ops, func(a, b *history.Op) int { return cmp.Compare(a.Call, b.Call) })
	f.Violations = append(f.Violations, Violation{check, topic, fmt.Sprintf(format, args...), slices.Compact(ops)})
}

func (f *Findings) Merge(other *Findings) {
	for check, n := range other.Checked {
		f.Checked[check] += n
	}
	f.Violations = append(f.Violations, other.Violations...)
}

// history is the complete history of a topic, sorted out.
type topicHistory struct {
	*Findings
	topic     string
	ops       []*history.Op
	log       []entry        // what the replay at the end says is in the topic
	at        map[string]int // places in log
	sends     map[string]*send
	consumers map[int64]*consumer
	replay    *history.Op // the first part of it; nil if it is not complete
	complete  bool        // the replay got to the end
}

// entry is a message in the topic. It was stored between call and stable.
type entry struct {
	sequence uint64
	data     string
	send     *send
	call     int64
	stable   int64       // when it was known to be stored: it was answered with success, or somebody saw it
	proof    *history.Op // of that
}

// send is a message that was sent, once or several times.
type send struct {
	ops     []*history.Op
	call    int64 // of the first time
	ok      int64 // the first return with success; never if there is none
	okOp    *history.Op
	refused bool // every time
}

// consumer is what is known of a consumer.
type consumer struct {
	id     int64
	mode   string
	lease  int64
	first  bool        // it starts at the first message
	made   *history.Op // the first call that was answered
	call   int64       // it was made between call and ret
	ret    int64
	start  int // the place from which on it surely gets everything
	takes  []take
	lost   []*history.Op // calls of unknown outcome that may have taken messages
	empty  []*history.Op // answers that there is nothing to take
	sizes  []*history.Op
	settle []*history.Op
}

// take is a message that a consumer got.
type take struct {
	place     int
	op        *history.Op
	call, ret int64
	token     string
	n         int // deliveries
}

// checkTopic checks the history of one topic.
func CheckTopic(topic string, ops []*history.Op) *Findings {
	h := &topicHistory{
		Findings: NewFindings(), topic: topic, ops: ops,
		at: make(map[string]int), sends: make(map[string]*send), consumers: make(map[int64]*consumer),
	}
	h.checkAnswers()
	h.checkNames()
	h.sortOut()
	if h.replay == nil {
		return h.Findings // nothing else can be said
	}
	h.checkLog()
	h.checkBatches()
	h.checkKeys()
	h.checkReads()
	for _, c := range h.consumers {
		h.begin(c)
		h.checkView(c)
		if c.mode == "lease" {
			h.checkLeases(c)
		}
		h.checkSizes(c)
	}
	return h.Findings
}

func (h *topicHistory) violated(check string, ops []*history.Op, format string, args ...any) {
	h.fail(check, h.topic, ops, format, args...)
}

// sortOut makes the parts of h from its operations.
func (h *topicHistory) sortOut() {
	for _, op := range h.ops {
		switch op.Kind {
		case history.OpProduce, history.OpAppend, history.OpProbe:
			for i, data := range op.Data {
				h.sent(data, op, i)
			}
		case history.OpBrowse:
			if op.Final && op.Outcome == history.OK {
				h.replayed(op)
			}
		case history.OpRegisterConsumer, history.OpCreateConsumer:
			h.registered(op)
		}
	}
	if !h.complete {
		h.replay = nil
		return
	}
	for i := range h.log {
		e := &h.log[i]
		if e.send = h.sends[e.data]; e.send != nil {
			e.call, e.stable, e.proof = e.send.call, e.send.ok, e.send.okOp
		}
	}
	for _, op := range h.ops {
		h.received(op)
	}
}

// outcomeOf is what became of the i-th message of op.
func outcomeOf(op *history.Op, i int) string {
	if op.Kind == history.OpAppend && len(op.Receipt) == len(op.Data) {
		switch op.Receipt[i].Code {
		case "":
			return history.OK
		case "unavailable", "internal":
			return history.Unknown
		}
		return history.Refused // for itself
	}
	return op.Outcome
}

func (h *topicHistory) sent(data string, op *history.Op, i int) {
	s := h.sends[data]
	if s == nil {
		s = &send{call: op.Call, ok: history.Never, refused: true}
		h.sends[data] = s
	}
	s.ops = append(s.ops, op)
	s.call = min(s.call, op.Call)
	outcome := outcomeOf(op, i)
	s.refused = s.refused && outcome == history.Refused
	if outcome == history.OK && op.Return < s.ok {
		s.ok, s.okOp = op.Return, op
	}
}

func (h *topicHistory) replayed(op *history.Op) {
	if h.replay == nil {
		h.replay = op
	}
	h.complete = len(op.Got) == 0
	for _, m := range op.Got {
		if place, twice := h.at[m.Data]; twice {
			h.stored(m, h.log[place].sequence)
			continue
		}
		h.at[m.Data] = len(h.log)
		h.log = append(h.log, entry{sequence: m.Sequence, data: m.Data, stable: history.Never})
	}
}

// registered takes note of a consumer. One with a name may be made several times,
// and was made the first time that it took effect.
func (h *topicHistory) registered(op *history.Op) {
	if op.Outcome != history.OK {
		return
	}
	c := h.consumers[op.ID]
	if c == nil {
		c = &consumer{id: op.ID, mode: op.Mode, lease: int64(op.Lease), first: op.First, made: op, call: op.Call, ret: op.Return}
		h.consumers[op.ID] = c
	}
	c.ret = min(c.ret, op.Return)
	c.call = min(c.call, op.Call)
	if op.Name == "" {
		return
	}
	for _, other := range h.ops { // it may have been made by a call of which nothing is known
		if other.Kind == op.Kind && other.Name == op.Name {
			c.call = min(c.call, other.Call)
		}
	}
}

// received sorts out what a consumer or reader got with op.
func (h *topicHistory) received(op *history.Op) {
	c := h.consumers[op.ID]
	switch op.Kind {
	case history.OpConsume, history.OpFetch, history.OpStream:
		if c == nil {
			return
		}
		if op.Outcome == history.Unknown {
			c.lost = append(c.lost, op)
		}
		if op.Code == "empty" || op.Kind == history.OpFetch && op.Outcome == history.OK && len(op.Got) == 0 {
			c.empty = append(c.empty, op)
		}
	case history.OpSize:
		if c != nil && op.Outcome == history.OK {
			c.sizes = append(c.sizes, op)
		}
		return
	case history.OpAck, history.OpNack, history.OpExtend:
		if c != nil {
			c.settle = append(c.settle, op)
		}
		return
	case history.OpBrowse, history.OpGet:
		c = nil
	default:
		return
	}
	for _, m := range op.Got {
		place, there := h.at[m.Data]
		if !there {
			h.unknownMessage(op, m)
			continue
		}
		t := take{place: place, op: op, call: op.Call, ret: op.Return, token: m.Token, n: m.Deliveries}
		if m.At > 0 {
			t.ret = m.At
		}
		if e := &h.log[place]; t.ret < e.stable {
			e.stable, e.proof = t.ret, op
		}
		if m.Sequence > 0 && m.Sequence != h.log[place].sequence {
			h.violated(checkReplay, []*history.Op{op, h.replay}, "%s had sequence %d, and has %d at the end", m.Data, m.Sequence, h.log[place].sequence)
		}
		if c != nil {
			c.takes = append(c.takes, t)
		}
	}
}

// unknownMessage tells of a message that is not in the topic at the end.
func (h *topicHistory) unknownMessage(op *history.Op, m history.Message) {
	s := h.sends[m.Data]
	if s == nil {
		h.violated(checkPhantom, []*history.Op{op}, "%s was never sent to this topic, and was received", m.Data)
		return
	}
	h.violated(checkReplay, append(s.ops, op, h.replay), "%s was received, and is not in the topic", m.Data)
}
