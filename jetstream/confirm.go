package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"dq/jetstream/engine"
)

// A publisher sends messages to streams and gathers the engine's confirmations.
// It does what the asynchronous publishing of nats.go does at half the cost:
// messages that are sent together cause one wake-up, and the reply subjects are
// reused, the last used first, because the engine caches the routes of a few
// hundred subjects.
//
// If the engine is shared, it may be a cluster, and no subject is used twice: a server that stood still may answer a
// message that its successor has answered before.
type publisher struct {
	nc     *nats.Conn
	inbox  string // the prefix of all reply subjects
	shared bool   // other processes reach the engine, too
	// awaitStream waits a moment, and reports whether a message for a stream that
	// did not receive it may be sent again. It is set if shared is.
	awaitStream func(ctx context.Context, stream string) bool

	mu    sync.Mutex
	slots []slot
	free  []int // indices in slots; the last freed is at the end
}

// slot is a reply subject for one confirmation.
type slot struct {
	subject string
	call    *publishCall // waits for the confirmation; nil if the slot is free
	index   int          // of the message in call
	uses    uint64       // how often the slot was reserved
}

// publishCall is a group of messages that were sent together.
type publishCall struct {
	answers []publishAnswer // one for each message
	left    int             // messages without an answer
	done    chan struct{}   // closed when left is 0
}

// publishAnswer is what the engine answered to one message.
type publishAnswer struct {
	received  bool
	sequence  uint64
	duplicate bool
	err       error
}

func newPublisher(nc *nats.Conn, shared bool) (*publisher, error) {
	p := &publisher{nc: nc, inbox: nats.InboxPrefix + nuid.Next() + ".", shared: shared}
	sub, err := nc.Subscribe(p.inbox+"*", p.receive)
	if err != nil {
		return nil, engine.Unavailable("listen for confirmations", err)
	}

	// A limit would lose confirmations. There are never more of them than messages
	// under way.
	return p, sub.SetPendingLimits(-1, -1)
}

// publish sends msgs, in order, and returns an answer for each. An answer that has not
// come when ctx ends is the error of ctx. Messages that no stream has received are sent
// again until ctx ends, unless one after them was received, or their stream does not exist.
func (p *publisher) publish(ctx context.Context, msgs ...*nats.Msg) []publishAnswer {
	if !p.shared {
		return p.send(ctx, msgs)
	}

	for _, m := range msgs {
		expectStream(m)
	}
	answers := p.send(ctx, msgs)
	for {
		tail := notReceived(answers)
		if tail == len(answers) || !p.awaitStream(ctx, streamOf(msgs[tail].Subject)) {
			return answers
		}
		copy(answers[tail:], p.send(ctx, msgs[tail:]))
	}
}

// publishDecided publishes msgs, and those again that the engine refuses only because
// another message with their subject or id is under way.
func (p *publisher) publishDecided(ctx context.Context, msgs []*nats.Msg) []publishAnswer {
	answers := p.publish(ctx, msgs...)
	for i := range answers {
		for isUndecided(answers[i].err) && pause(ctx) {
			answers[i] = p.publish(ctx, msgs[i])[0]
		}
	}
	return answers
}

// notReceived returns the index of the first of the messages at the end that no stream
// has received; the number of answers if the last one was received.
func notReceived(answers []publishAnswer) (first int) {
	first = len(answers)
	for first > 0 && reachedNobody(answers[first-1].err) {
		first--
	}
	return first
}

// send sends msgs once, in order.
func (p *publisher) send(ctx context.Context, msgs []*nats.Msg) []publishAnswer {
	call := &publishCall{answers: make([]publishAnswer, len(msgs)), left: len(msgs), done: make(chan struct{})}
	p.reserve(call, msgs)

	for i, m := range msgs {
		if err := p.nc.PublishMsg(m); err != nil {
			p.mu.Lock()
			call.record(i, publishAnswer{err: err})
			p.release(call, msgs[i:i+1])
			p.mu.Unlock()
		}
	}

	select {
	case <-call.done:
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		for i := range call.answers {
			call.record(i, publishAnswer{err: context.Cause(ctx)})
		}
		if p.shared {
			p.release(call, msgs)
		}
	}
	return call.answers
}

// reserve gives each message a slot. Where a subject is used again, a slot is freed
// only when its answer has arrived, even if nobody waits any more: a late answer must
// not be taken for that of the slot's next message.
func (p *publisher) reserve(call *publishCall, msgs []*nats.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range msgs {
		var n int
		if last := len(p.free) - 1; last >= 0 {
			n = p.free[last]
			p.free = p.free[:last]
		} else {
			n = len(p.slots)
			p.slots = append(p.slots, slot{subject: p.inbox + strconv.Itoa(n)})
		}

		s := &p.slots[n]
		s.call, s.index = call, i
		m.Reply = s.subject
		if p.shared {
			s.uses++
			m.Reply += "-" + strconv.FormatUint(s.uses, 36)
		}
	}
}

// release frees the slots of messages whose answers have not come. The caller holds the
// publisher's lock.
func (p *publisher) release(call *publishCall, msgs []*nats.Msg) {
	for _, m := range msgs {
		if n, _, ok := p.slotOf(m.Reply); ok && p.slots[n].call == call {
			p.slots[n].call = nil
			p.free = append(p.free, n)
		}
	}
}

// slotOf returns the index of the slot that a reply subject belongs to, and which of its uses
// the subject is for.
func (p *publisher) slotOf(reply string) (n int, use uint64, ok bool) {
	number, suffix, used := strings.Cut(reply[len(p.inbox):], "-")
	n, err := strconv.Atoi(number)
	if err == nil && used {
		use, err = strconv.ParseUint(suffix, 36, 64)
	}
	return n, use, err == nil && n >= 0 && n < len(p.slots)
}

// record stores the answer to message i, unless the message already has one. The caller
// holds the publisher's lock.
func (c *publishCall) record(i int, a publishAnswer) {
	if c.answers[i].received {
		return
	}
	a.received = true
	c.answers[i] = a
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// receive records an answer of the engine. The NATS connection calls it for each one.
func (p *publisher) receive(m *nats.Msg) {
	answer := decodeAnswer(m)

	p.mu.Lock()
	defer p.mu.Unlock()
	n, use, ok := p.slotOf(m.Subject)
	if !ok || p.slots[n].call == nil || p.slots[n].uses != use {
		return
	}

	s := &p.slots[n]
	s.call.record(s.index, answer)
	s.call = nil
	p.free = append(p.free, n)
}

// The headers of the engine's atomic batch publish (ADR-50).
const (
	batchIDHeader       = "Nats-Batch-Id"
	batchSequenceHeader = "Nats-Batch-Sequence"
	batchCommitHeader   = "Nats-Batch-Commit"
)

// publishAtomically publishes all of msgs or none, and returns the answer to the
// last one. A batch that no stream has received is sent again, as by publish.
func (p *publisher) publishAtomically(ctx context.Context, msgs []*nats.Msg) publishAnswer {
	if p.shared {
		for _, m := range msgs {
			expectStream(m)
		}
	}
	for {
		answer := p.sendAtomically(ctx, msgs)
		if !p.shared || !reachedNobody(answer.err) || !p.awaitStream(ctx, streamOf(msgs[0].Subject)) {
			return answer
		}
	}
}

func (p *publisher) sendAtomically(ctx context.Context, msgs []*nats.Msg) publishAnswer {
	last := len(msgs) - 1
	if last > 0 { // a single message does not need the protocol
		id := nuid.Next()
		for i, m := range msgs {
			m.Header[batchIDHeader] = []string{id}
			m.Header[batchSequenceHeader] = []string{strconv.Itoa(i + 1)}
		}
		msgs[last].Header[batchCommitHeader] = []string{"1"}
	}

	for _, m := range msgs[:last] { // a refusal of these is answered to the last one
		if err := p.nc.PublishMsg(m); err != nil {
			return publishAnswer{err: err}
		}
	}
	return p.send(ctx, msgs[last:])[0]
}

var (
	successStart  = []byte(`{"stream":"`)
	sequenceField = []byte(`","seq":`)
)

// plainSuccess reads an answer of the form {"stream":"dq_T1","seq":42}, which
// nearly all answers have, without the cost of a JSON decoder.
func plainSuccess(data []byte) (sequence uint64, ok bool) {
	rest, ok := bytes.CutPrefix(data, successStart)
	if !ok {
		return 0, false
	}

	name := bytes.IndexByte(rest, '"')
	if name < 0 || bytes.IndexByte(rest[:name], '\\') >= 0 {
		return 0, false
	}

	if rest, ok = bytes.CutPrefix(rest[name:], sequenceField); !ok {
		return 0, false
	}
	if rest, ok = bytes.CutSuffix(rest, []byte("}")); !ok {
		return 0, false
	}

	sequence, err := strconv.ParseUint(string(rest), 10, 64)
	return sequence, err == nil
}

// decodeAnswer reads the answer to a message.
func decodeAnswer(m *nats.Msg) publishAnswer {
	if len(m.Data) == 0 && m.Header.Get(statusHeader) == statusNoResponders {
		return publishAnswer{err: nats.ErrNoResponders}
	}

	if n, ok := plainSuccess(m.Data); ok {
		return publishAnswer{sequence: n}
	}

	var out struct {
		Error     *jetstream.APIError `json:"error"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
	}
	if err := json.Unmarshal(m.Data, &out); err != nil {
		return publishAnswer{err: fmt.Errorf("a confirmation that cannot be read: %w", err)}
	}
	if out.Error != nil {
		return publishAnswer{err: out.Error}
	}
	return publishAnswer{sequence: out.Sequence, duplicate: out.Duplicate}
}
