package jetstream

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"dq/jetstream/engine"
)

const (
	// silentPull is how long a pull of what is there now may bring nothing before the
	// engine is asked why: it does not answer while max_in_flight messages are in flight.
	silentPull = 15 * time.Millisecond

	// waitingPull is how long one pull waits for a message. Then the next one begins: an
	// engine that restarted has forgotten those that were under way.
	waitingPull = 5 * time.Second
)

// The statuses with which the engine ends a pull.
const (
	statusTimeout  = "408"
	statusConflict = "409"

	textTooLarge  = "Message Size Exceeds MaxBytes"
	textCompleted = "Batch Completed"
	textDeleted   = "Consumer Deleted"
)

// pulls are the requests of this process for messages of durables. The answers to a pull
// come through a subscription that no other pull uses at the same time: a message
// carries the subject on which it was published, so only its subscription tells which
// pull it answers. The subscriptions are used again.
type pulls struct {
	reader *reader
	inbox  string // the prefix of all reply subjects

	mu   sync.Mutex
	made int         // subscriptions, ever
	free []*pullSlot // the one freed last is at the end
}

// pullSlot is a subscription for one pull at a time.
type pullSlot struct {
	pulls   *pulls
	subject string
	sub     *nats.Subscription

	mu   sync.Mutex
	pull *pull // nil if no pull is under way
}

// pull is one request for messages. The lock of its slot guards the fields below slot.
type pull struct {
	want     int
	bytes    int // the engine ends a pull with a limit by a status; 0: no limit
	waits    bool
	restarts uint64        // of the connection, before the pull
	done     chan struct{} // closed when ended is set
	slot     *pullSlot

	messages     []*nats.Msg
	status, text string // how it ended; "" if all messages came, or nobody waited any longer
	ended        bool
}

func newPulls(r *reader) *pulls {
	return &pulls{reader: r, inbox: nats.InboxPrefix + nuid.Next() + "."}
}

// slot returns a free slot.
func (p *pulls) slot() (*pullSlot, error) {
	p.mu.Lock()
	if last := len(p.free) - 1; last >= 0 {
		s := p.free[last]
		p.free = p.free[:last]
		p.mu.Unlock()
		return s, nil
	}
	p.made++
	s := &pullSlot{pulls: p, subject: p.inbox + strconv.Itoa(p.made)}
	p.mu.Unlock()

	var err error
	if s.sub, err = p.reader.nc.Subscribe(s.subject, s.receive); err != nil {
		return nil, engine.Unavailable("listen for messages", err)
	}
	return s, s.sub.SetPendingLimits(-1, -1) // the pulls bound them
}

// start sends a pull for want messages of d. It waits for the first until expires; zero
// means that it takes what is there.
func (p *pulls) start(d *durable, want, bytes int, expires time.Duration) (*pull, error) {
	s, err := p.slot()
	if err != nil {
		return nil, err
	}
	out := &pull{
		want: want, bytes: bytes, waits: expires > 0, restarts: p.reader.nc.Stats().Reconnects,
		slot: s, done: make(chan struct{}), messages: make([]*nats.Msg, 0, min(want, maxOneByOne)),
	}
	s.mu.Lock()
	s.pull = out
	s.mu.Unlock()

	body := append(make([]byte, 0, 64), `{"batch":`...)
	body = strconv.AppendInt(body, int64(want), 10)
	if bytes > 0 {
		body = append(body, `,"max_bytes":`...)
		body = strconv.AppendInt(body, int64(bytes), 10)
	}
	if expires > 0 {
		body = append(body, `,"expires":`...)
		body = strconv.AppendInt(body, int64(expires), 10)
	} else {
		body = append(body, `,"no_wait":true`...)
	}
	body = append(body, '}')
	if err := p.reader.nc.PublishRequest(d.nextSubject(), s.subject, body); err != nil {
		return nil, engine.Unavailable("fetch", err)
	}
	return out, nil
}

// nextSubject returns the subject of pulls of d.
func (d *durable) nextSubject() string { return "$JS.API.CONSUMER.MSG.NEXT." + d.stream + "." + d.name }

// receive gets the messages and the status of a pull. The NATS connection calls it for
// each one.
func (s *pullSlot) receive(m *nats.Msg) {
	s.mu.Lock()
	p := s.pull
	if p == nil {
		s.mu.Unlock()
		giveBack(s.pulls.reader.nc, m)
		return
	}
	if m.Reply == "" { // only a status has nobody to acknowledge it to
		p.status, p.text = m.Header.Get(statusHeader), m.Header.Get("Description")
		p.end()
		s.pull = nil
	} else if p.messages = append(p.messages, m); len(p.messages) == p.want {
		p.end()
		if p.bytes == 0 {
			s.pull = nil
		}
	}
	free := s.pull == nil
	s.mu.Unlock()

	if !free {
		runtime.Gosched() // more may come meanwhile, and then one wake-up serves them all
		return
	}
	s.pulls.mu.Lock()
	s.pulls.free = append(s.pulls.free, s)
	s.pulls.mu.Unlock()
}

// end wakes the call that waits for p. The caller holds the lock of the slot.
func (p *pull) end() {
	if !p.ended {
		p.ended = true
		close(p.done)
	}
}

// giveBack returns a message that nobody waits for any more. It counts as delivered.
func giveBack(nc *nats.Conn, m *nats.Msg) {
	if m.Reply != "" {
		_ = nc.Publish(m.Reply, []byte(nakWord))
	}
}

// leave stops waiting for p: the engine forgets a pull whose subscription is gone.
func (p *pull) leave() {
	p.slot.mu.Lock()
	defer p.slot.mu.Unlock()
	if p.ended {
		return
	}
	p.end()
	p.slot.pull = nil
	_ = p.slot.sub.Drain() // what is on its way is given back
}

// received returns how many messages have come so far.
func (p *pull) received() int {
	p.slot.mu.Lock()
	defer p.slot.mu.Unlock()
	return len(p.messages)
}

// await waits for the end of p, which takes what is there now. It leaves when nothing
// comes because the durable has as many messages in flight as it may have, which full
// reports.
func (p *pull) await(ctx context.Context, full func(context.Context) bool) {
	timer := time.NewTimer(silentPull)
	defer timer.Stop()
	for before, wasFull := 0, false; ; {
		select {
		case <-p.done:
			return
		case <-ctx.Done():
			p.leave()
			return
		case <-timer.C:
		}

		isFull := p.received() == before && full(ctx)
		if isFull && wasFull { // what was delivered before has come
			p.leave()
			return
		}
		before, wasFull = p.received(), isFull
		timer.Reset(silentPull)
	}
}

// takeCall is a call that takes what is there now.
type takeCall struct {
	want, bytes int // with a want of 1, bytes is no limit

	messages []*nats.Msg
	ended    bool // nothing more is there, or the engine did not say so
}

// takeForAll takes messages by one pull for all of calls. The limit of bytes is that of
// the call with the lowest.
func (p *pulls) takeForAll(ctx context.Context, d *durable, calls []*takeCall) []publishAnswer {
	want, bytes := 0, 0
	for _, call := range calls {
		want += call.want
		if call.want > 1 && (bytes == 0 || call.bytes < bytes) {
			bytes = call.bytes
		}
	}

	messages, ended, err := p.take(ctx, d, &takeCall{want: want, bytes: bytes})
	answers := make([]publishAnswer, len(calls))
	for i, call := range calls {
		n := min(call.want, len(messages))
		call.messages, messages = messages[:n:n], messages[n:]
		call.ended, answers[i].err = ended, err
	}
	return answers
}

// take takes messages. The result ended says that nothing more is there.
func (p *pulls) take(ctx context.Context, d *durable, call *takeCall) (messages []*nats.Msg, ended bool, err error) {
	release, err := p.reader.acquire(ctx, d.stream, getRequest{Batch: call.want, MaxBytes: call.bytes})
	if err != nil {
		return nil, false, err
	}
	defer release()

	out, err := p.start(d, call.want, call.bytes, 0)
	if err != nil {
		return nil, false, err
	}
	out.await(ctx, d.full)
	messages, tooLarge, err := out.result()
	if err == nil {
		p.reader.learnFrom(d.stream, messages)
	}
	return messages, len(messages) < call.want && !tooLarge, err
}

// result returns what has come for p, which has ended. If nothing has come, it returns an
// error unless nothing was there: [errNoDurable], [*UnavailableError].
func (p *pull) result() (messages []*nats.Msg, tooLarge bool, err error) {
	p.slot.mu.Lock()
	defer p.slot.mu.Unlock()
	tooLarge = p.status == statusConflict && (p.text == textTooLarge || p.text == textCompleted)
	nc := p.slot.pulls.reader.nc
	switch {
	case len(p.messages) > 0 || tooLarge || p.status == statusNotFound || p.status == statusTimeout:
	case p.status == "" && (p.waits || p.restarts == nc.Stats().Reconnects && nc.IsConnected()):
	case p.status == "":
		err = engine.Unavailable("fetch", errors.New("the connection to the engine was cut off"))
	case p.status == statusNoResponders || p.text == textDeleted:
		err = errNoDurable
	default:
		err = engine.Unavailable("fetch", fmt.Errorf("status %s: %s", p.status, p.text))
	}
	return p.messages, tooLarge, err
}

// errNoDurable says that no durable answered a pull.
var errNoDurable = errors.New("no such consumer, or the engine is starting")

// wait sends a pull for one message, which waits for it.
func (p *pulls) wait(ctx context.Context, d *durable) (*pull, error) {
	ctx, cancel := context.WithTimeout(ctx, waitingPull+time.Second)
	defer cancel()
	out, err := p.start(d, 1, 0, waitingPull)
	if err != nil {
		return nil, err
	}
	select {
	case <-out.done:
	case <-ctx.Done():
		out.leave()
	}
	return out, nil
}

// waiters are the calls of this process that wait for a message of one durable, in order.
// One pull at a time waits for all of them: for each message the engine looks at all
// pulls that wait.
type waiters struct {
	pull     func(context.Context) (*pull, error)
	giveBack func(*nats.Msg)

	mu      sync.Mutex
	queue   []chan waited
	serving bool
	stop    context.CancelFunc // ends the pull under way
}

// waited is what a waiting call gets.
type waited struct {
	message *nats.Msg
	err     error
}

// wait returns the next message, or nil when ctx ends.
func (w *waiters) wait(ctx context.Context) (*nats.Msg, error) {
	got := make(chan waited, 1)
	w.mu.Lock()
	w.queue = append(w.queue, got)
	if !w.serving {
		w.serving = true
		go w.serve()
	}
	w.mu.Unlock()

	select {
	case out := <-got:
		return out.message, out.err
	case <-ctx.Done():
	}

	w.mu.Lock()
	place := slices.Index(w.queue, got)
	if place >= 0 {
		w.queue = slices.Delete(w.queue, place, place+1)
	}
	if len(w.queue) == 0 && w.stop != nil {
		w.stop()
	}
	w.mu.Unlock()
	if place < 0 { // a message was given to this call just now
		out := <-got
		return out.message, out.err
	}
	return nil, nil
}

// serve pulls for the waiting calls until there are none.
func (w *waiters) serve() {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		w.mu.Lock()
		w.stop = cancel
		if len(w.queue) == 0 {
			w.serving = false
			w.mu.Unlock()
			cancel()
			return
		}
		w.mu.Unlock()

		var messages []*nats.Msg
		p, err := w.pull(ctx)
		if err == nil {
			messages, _, err = p.result()
		}
		cancel()
		w.hand(messages, err)
	}
}

// hand gives a message to the first waiting call, or an error to all.
func (w *waiters) hand(messages []*nats.Msg, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range messages {
		if len(w.queue) == 0 {
			w.giveBack(m)
			continue
		}
		w.queue[0] <- waited{message: m}
		w.queue = w.queue[1:]
	}
	if err != nil {
		for _, got := range w.queue {
			got <- waited{err: err}
		}
		w.queue = nil
	}
}
