package jetstream

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"dq/jetstream/engine"
)

// Limits bound what one fetch may bring.
type Limits struct {
	Messages int // at least 1
	Bytes    int // of data; the message that reaches them is the last. At least 1
	// Stream, if it is not nil, is what TakeOver returned: nothing is handed out
	// after another stream has taken over.
	Stream *uint64
}

// position is what this process remembers of one consumer. The calls of one
// consumer take turns.
type position struct {
	mu     sync.Mutex
	takers []*taker // who wait for the turn to take a message each

	turn   *semaphore.Weighted
	known  bool      // cursor was read from the store, and nothing says it has changed
	cursor Cursor    // as far as known
	ahead  readAhead // the messages behind the cursor
}

func (p *position) forget() { p.known, p.ahead = false, readAhead{} }

func (c *Consumers) position(id int64) *position {
	if p, ok := c.active.Get(id); ok {
		return p
	}
	p := &position{turn: semaphore.NewWeighted(1)}
	if other, found, _ := c.active.PeekOrAdd(id, p); found {
		return other
	}
	return p
}

// await waits for the turn of a call. The caller releases it.
func (p *position) await(ctx context.Context) error {
	if p.turn.TryAcquire(1) { // without what it costs to await ctx
		return nil
	}
	if err := p.turn.Acquire(ctx, 1); err != nil {
		return engine.Unavailable("serve the consumer while an earlier call of it is under way", err)
	}
	return nil
}

// taker is one call of Next.
type taker struct {
	message Message
	err     error
	done    chan struct{}
}

// Next returns the consumer's next message. The consumer's new position is
// stored when it returns, so the message is never returned again. Calls that
// come while one is under way share one turn, and so one write.
// Errors: [*EmptyError] if there is none, [*ModeError], [*TopicNotFoundError] if the
// topic is gone, [*UnavailableError].
func (c *Consumers) Next(ctx context.Context, consumer Consumer) (Message, error) {
	if consumer.Lease > 0 {
		return Message{}, &ModeError{"this call", "auto"}
	}
	p := c.position(consumer.ID)
	t := &taker{done: make(chan struct{})}
	p.mu.Lock()
	p.takers = append(p.takers, t)
	first := len(p.takers) == 1
	p.mu.Unlock()
	if first {
		c.nextForAll(ctx, consumer, p)
	}
	<-t.done // in bounded time: whoever was first has a deadline
	return t.message, t.err
}

// nextForAll takes a message for each of those who wait for one.
func (c *Consumers) nextForAll(ctx context.Context, consumer Consumer, p *position) {
	err := p.await(ctx)
	p.mu.Lock()
	takers := p.takers
	p.takers = nil
	p.mu.Unlock()
	var out []Delivery
	if err == nil {
		out, err = c.fetch(ctx, consumer, p, Limits{Messages: len(takers), Bytes: math.MaxInt})
		p.turn.Release(1)
	}
	for i, t := range takers {
		switch {
		case err != nil:
			t.err = err
		case i < len(out):
			t.message = out[i].Message
		default:
			t.err = &EmptyError{Consumer: consumer.ID, Topic: consumer.Topic}
		}
		close(t.done)
	}
}

// Fetch hands out the consumer's next messages, none if there are none now. What
// it hands out is stored when it returns: in mode auto it is never handed out
// again, in mode lease not before the lease has run out.
// Errors: [*TopicNotFoundError] if the topic is gone, [*UnavailableError].
func (c *Consumers) Fetch(ctx context.Context, consumer Consumer, limits Limits) ([]Delivery, error) {
	p := c.position(consumer.ID)
	if err := p.await(ctx); err != nil {
		return nil, err
	}
	defer p.turn.Release(1)
	return c.fetch(ctx, consumer, p, limits)
}

// fetch is Fetch for who has the turn.
func (c *Consumers) fetch(ctx context.Context, consumer Consumer, p *position, limits Limits) ([]Delivery, error) {
	for {
		fresh := !p.known
		if err := c.know(ctx, consumer, p); err != nil {
			return nil, err
		}
		if limits.Stream != nil && *limits.Stream != p.cursor.Stream {
			return nil, &SupersededError{}
		}
		next := p.cursor.clone()
		out, err := c.handOut(ctx, consumer, p, &next, limits)
		if err != nil {
			p.forget()
			return nil, err
		}
		if len(out) == 0 && len(next.Leases) == len(p.cursor.Leases) {
			if fresh || c.topics.opts.Alone {
				return nil, nil
			}
			// "Nothing" is said only of a cursor that is still the stored one:
			// another process may have changed it.
			if same, err := c.confirm(ctx, consumer, p); same || err != nil {
				return nil, err
			}
			continue
		}
		stored, err := c.store(ctx, consumer, p, next)
		if err != nil {
			return nil, err
		}
		if stored {
			return out, nil
		}
	}
}

// handOut takes what is to be handed out now, and changes next accordingly.
func (c *Consumers) handOut(ctx context.Context, consumer Consumer, p *position, next *Cursor, limits Limits) ([]Delivery, error) {
	now := time.Now()
	if next.paused(now) {
		return nil, nil
	}
	if consumer.Lease > 0 {
		return c.lend(ctx, consumer, p, next, now, limits)
	}
	var out []Delivery
	bytes := 0
	for len(out) < limits.Messages && bytes < limits.Bytes {
		m, ok, err := c.message(ctx, consumer, p, next.Position, limits.Messages-len(out))
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		next.Position = m.Sequence
		out = append(out, Delivery{Message: m})
		bytes += len(m.Data)
	}
	return out, nil
}

// know makes sure that p.cursor is what is stored, as far as known.
func (c *Consumers) know(ctx context.Context, consumer Consumer, p *position) (err error) {
	if !p.known {
		if p.cursor, err = c.cursors.load(ctx, consumer.ID, consumer.Start); err != nil {
			return err
		}
		p.known, p.ahead = true, readAhead{}
	}
	if p.cursor.Gone { // since this process deleted it
		return &ConsumerNotFoundError{Consumer: strconv.FormatInt(consumer.ID, 10), Deleted: true}
	}
	return nil
}

// confirm reads the cursor again, and reports whether it was the stored one.
func (c *Consumers) confirm(ctx context.Context, consumer Consumer, p *position) (same bool, err error) {
	was := p.cursor.revision
	p.forget()
	err = c.know(ctx, consumer, p)
	return p.cursor.revision == was, err
}

// message takes the message behind position from those that were read ahead, or
// reads them, as many as are wanted and then some. It reports whether there is one.
func (c *Consumers) message(ctx context.Context, consumer Consumer, p *position, position uint64, wanted int) (m Message, ok bool, err error) {
	if !p.ahead.good(c.topics, consumer.Topic) {
		if p.ahead, err = c.reads.read(ctx, consumer, position+1, wanted); err != nil || len(p.ahead.messages) == 0 {
			return Message{}, false, err
		}
	}
	m, p.ahead.messages = p.ahead.messages[0], p.ahead.messages[1:]
	return m, true, nil
}

// store stores next as the consumer's cursor. If it was changed by another
// process meanwhile, all that is known of it is forgotten.
func (c *Consumers) store(ctx context.Context, consumer Consumer, p *position, next Cursor) (stored bool, err error) {
	next, stored, err = c.cursors.store(ctx, consumer.ID, p.cursor, next)
	if err != nil || !stored { // an error: where the cursor stands now is unknown
		p.forget()
		return false, err
	}
	p.cursor = next
	return true, nil
}

// FetchWait is [Consumers.Fetch], and waits for a message until ctx ends, which
// is no error. What was handed out is always returned. A message that cannot be
// buried is in nobody's way: its error is returned if nothing else comes.
func (c *Consumers) FetchWait(ctx context.Context, consumer Consumer, limits Limits) (out []Delivery, err error) {
	var unburied *DeadLetterError
	err = c.topics.waitFor(ctx, consumer.Topic, func() (bool, time.Time, error) {
		calls, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.topics.opts.CallTimeout)
		defer cancel()
		out, err = c.Fetch(calls, consumer, limits)
		switch {
		case errors.As(err, &unburied):
			return false, time.Time{}, nil
		case err != nil || len(out) > 0:
			return true, time.Time{}, err
		}
		unburied = nil
		return false, c.wake(consumer), nil
	})
	if err == nil && len(out) == 0 && unburied != nil {
		err = unburied
	}
	return out, err
}

// wake is when the consumer gets something to hand out without a new message.
func (c *Consumers) wake(consumer Consumer) time.Time {
	p, ok := c.active.Get(consumer.ID)
	if !ok || !p.turn.TryAcquire(1) {
		return time.Time{}
	}
	defer p.turn.Release(1)
	if now := time.Now(); p.cursor.paused(now) {
		return p.cursor.PausedUntil
	}
	return p.cursor.wake()
}
