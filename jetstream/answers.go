package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// A publisher sends messages to streams and gathers the engine's answers. It
// does what the library's asynchronous publishing does with less per message,
// and it knows the engine's batches without a library (ADR-50, fast ingest).
type publisher struct {
	nc      *nats.Conn
	inbox   string // answers come below it
	batches string // how the ids of batches start
	sub     *nats.Subscription

	mu    sync.Mutex
	last  uint64
	calls map[uint64]*publishCall
}

// publishCall is messages that were sent together.
type publishCall struct {
	id      uint64
	answers []publishAnswer // one for each message
	left    int             // messages without an answer
	batch   bool            // one answer may stand for all
	done    chan struct{}   // closed when none is left
}

// publishAnswer is what the engine answered to one message.
type publishAnswer struct {
	known     bool
	sequence  uint64 // 0 for a message of a batch: the engine does not tell it
	duplicate bool
	err       error
}

var errLost = errors.New("the message was lost on its way to the engine")

func newPublisher(nc *nats.Conn) (*publisher, error) {
	id := nuid.Next()
	p := &publisher{nc: nc, inbox: nats.InboxPrefix + id + ".", batches: id + "-", calls: make(map[uint64]*publishCall)}
	var err error
	if p.sub, err = nc.Subscribe(p.inbox+">", p.answered); err != nil {
		return nil, unavailable("listen for confirmations", err)
	}
	// A slow consumer would lose confirmations. How many there can be is bounded
	// by what is published.
	return p, p.sub.SetPendingLimits(-1, -1)
}

// begin makes a call of n messages. The caller sends them and waits.
func (p *publisher) begin(n int, batch bool) *publishCall {
	call := &publishCall{answers: make([]publishAnswer, n), left: n, batch: batch, done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	call.id = p.last
	p.calls[call.id] = call
	return call
}

// send publishes the i-th message of a call.
func (p *publisher) send(call *publishCall, i int, m *nats.Msg) {
	reply := make([]byte, 0, 96)
	reply = append(reply, p.inbox...)
	if call.batch {
		reply = appendBatchReply(append(reply, p.batches...), call.id, i, len(call.answers))
	} else {
		reply = strconv.AppendUint(reply, call.id, 10)
		reply = append(reply, '.')
		reply = strconv.AppendInt(reply, int64(i), 10)
	}
	m.Reply = string(reply)
	if err := p.nc.PublishMsg(m); err != nil {
		p.settle(call, i, publishAnswer{known: true, err: err})
	}
}

// each publishes messages for themselves, in order.
func (p *publisher) each(ctx context.Context, msgs []*nats.Msg) []publishAnswer {
	call := p.begin(len(msgs), false)
	for i, m := range msgs {
		p.send(call, i, m)
	}
	return p.wait(ctx, call)
}

// together publishes messages with one confirmation for all, each of which is
// stored or refused for itself. Their sequences are not told.
func (p *publisher) together(ctx context.Context, msgs []*nats.Msg) []publishAnswer {
	call := p.begin(len(msgs), len(msgs) > 1)
	for i, m := range msgs {
		p.send(call, i, m)
	}
	return p.wait(ctx, call)
}

// The headers of the engine's atomic batch publish (ADR-50).
const (
	batchIDHeader       = "Nats-Batch-Id"
	batchSequenceHeader = "Nats-Batch-Sequence"
	batchCommitHeader   = "Nats-Batch-Commit"
)

// atomic publishes all of msgs or none.
func (p *publisher) atomic(ctx context.Context, msgs []*nats.Msg) publishAnswer {
	call := p.begin(1, false)
	if len(msgs) > 1 { // one alone does not need the protocol
		id := p.batches + strconv.FormatUint(call.id, 10)
		for i, m := range msgs {
			if m.Header == nil {
				m.Header = nats.Header{}
			}
			m.Header[batchIDHeader] = []string{id}
			m.Header[batchSequenceHeader] = []string{strconv.Itoa(i + 1)}
		}
		msgs[len(msgs)-1].Header[batchCommitHeader] = []string{"1"}
	}
	last := len(msgs) - 1
	for _, m := range msgs[:last] {
		// What goes wrong here, the answer to the last message tells.
		if err := p.nc.PublishMsg(m); err != nil {
			p.settle(call, 0, publishAnswer{known: true, err: err})
		}
	}
	p.send(call, 0, msgs[last])
	return p.wait(ctx, call)[0]
}

// maxBatch is the most messages of a batch: the engine sends a confirmation in
// between from 500 on.
const maxBatch = 500

// appendBatchReply appends ID.FLOW.GAPS.SEQUENCE.OPERATION.$FI, which is how the
// engine knows a message of a batch. Gaps "ok": an error is that of its message
// alone.
func appendBatchReply(reply []byte, id uint64, i, n int) []byte {
	const start, next, commit = '0', '1', '2'
	reply = strconv.AppendUint(reply, id, 10)
	reply = append(reply, ".500.ok."...)
	reply = strconv.AppendInt(reply, int64(i+1), 10)
	operation := byte(next)
	switch i {
	case n - 1:
		operation = commit
	case 0:
		operation = start
	}
	return append(reply, '.', operation, '.', '$', 'F', 'I')
}

// wait returns the answers to a call. Those that did not come until ctx ends
// have its error.
func (p *publisher) wait(ctx context.Context, call *publishCall) []publishAnswer {
	select {
	case <-call.done:
		return call.answers
	default:
	}
	select {
	case <-call.done:
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.calls, call.id)
		for i := range call.answers {
			if a := &call.answers[i]; !a.known {
				*a = publishAnswer{known: true, err: context.Cause(ctx)}
			}
		}
	}
	return call.answers
}

// settle notes the answer to one message.
func (p *publisher) settle(call *publishCall, i int, a publishAnswer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(call, i, a)
}

func (p *publisher) note(call *publishCall, i int, a publishAnswer) {
	if i < 0 || i >= len(call.answers) || call.answers[i].known || p.calls[call.id] != call {
		return
	}
	call.answers[i] = a
	if call.left--; call.left == 0 {
		delete(p.calls, call.id)
		close(call.done)
	}
}

// answered is called with every answer of the engine.
func (p *publisher) answered(m *nats.Msg) {
	rest := m.Subject[len(p.inbox):]
	rest, batch := strings.CutPrefix(rest, p.batches)
	word, rest, _ := strings.Cut(rest, ".")
	id, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return
	}
	if !batch {
		if i, err := strconv.Atoi(rest); err == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			if call := p.calls[id]; call != nil {
				p.note(call, i, decodeAnswer(m))
			}
		}
		return
	}
	words := strings.Split(rest, ".") // FLOW GAPS SEQUENCE OPERATION $FI
	if len(words) != 5 {
		return
	}
	sequence, err := strconv.Atoi(words[2])
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if call := p.calls[id]; call != nil {
		p.batchAnswered(call, sequence, m)
	}
}

// batchAnswer is any of the answers to a message of a batch: how many more to
// send ("ack"), a message that was refused ("err"), messages that never came
// ("gap"), or, without a type, what is said of a single message.
type batchAnswer struct {
	Type     string              `json:"type"`
	Sequence int                 `json:"seq"`
	Last     int                 `json:"last_seq"`
	Count    int                 `json:"count"`
	Batch    string              `json:"batch"`
	Error    *jetstream.APIError `json:"error"`
}

func (p *publisher) batchAnswered(call *publishCall, sequence int, m *nats.Msg) {
	var a batchAnswer
	if isNobody(m) {
		p.note(call, sequence-1, publishAnswer{known: true, err: nats.ErrNoResponders})
		return
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return
	}
	switch {
	case a.Type == "err" && a.Error != nil:
		p.note(call, a.Sequence-1, publishAnswer{known: true, err: a.Error})
	case a.Type == "gap":
		for i := a.Last; i < a.Sequence; i++ {
			p.note(call, i-1, publishAnswer{known: true, err: errLost})
		}
	case a.Type != "":
	case a.Error != nil:
		p.note(call, sequence-1, publishAnswer{known: true, err: a.Error})
	case a.Batch != "": // the whole batch was dealt with
		for i := range call.answers {
			answer := publishAnswer{known: true}
			if i >= a.Count {
				answer.err = errLost
			}
			p.note(call, i, answer)
		}
	}
}

// isNobody reports whether m says that no stream listens on a subject.
func isNobody(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get(statusHeader) == statusNoResponders
}

var sequenceField = []byte(`,"seq":`)

// decodeAnswer reads the answer to a single message.
func decodeAnswer(m *nats.Msg) publishAnswer {
	if isNobody(m) {
		return publishAnswer{known: true, err: nats.ErrNoResponders}
	}
	// Nearly all are {"stream":"dq_T1","seq":42}. A stream's name of ours has no
	// quotes in it.
	if i := bytes.Index(m.Data, sequenceField); i > 0 {
		if n, err := strconv.ParseUint(string(m.Data[i+len(sequenceField):len(m.Data)-1]), 10, 64); err == nil {
			return publishAnswer{known: true, sequence: n}
		}
	}
	var out struct {
		Error     *jetstream.APIError `json:"error"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
	}
	if err := json.Unmarshal(m.Data, &out); err != nil {
		return publishAnswer{known: true, err: fmt.Errorf("a confirmation that cannot be read: %w", err)}
	}
	if out.Error != nil {
		return publishAnswer{known: true, err: out.Error}
	}
	return publishAnswer{known: true, sequence: out.Sequence, duplicate: out.Duplicate}
}
