package jetstream

import (
	"context"
	"errors"
	"math"
	"time"
)

// Limits bound what one fetch may return.
type Limits struct {
	Messages int // at least 1
	Bytes    int // of data, at least 1; the message that reaches them is the last
	// Stream, if it is not nil, is what TakeOver returned: nothing is delivered
	// after another stream has taken over.
	Stream *uint64
	Memory ReadMemory // FetchWait asks it before it reads; nil is no bound
}

// nextCall is one call of Next.
type nextCall struct {
	message Message
	err     error
	done    chan struct{}
}

// Next returns the next message of a consumer in mode auto and advances past it:
// the new position is stored when Next returns, so the message is never returned
// again. Calls that arrive while another is under way are served together, with one write.
// Errors: [*EmptyError] if no message is left, [*ModeError], [*TopicNotFoundError] if
// the topic does not exist any more, [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) Next(ctx context.Context, consumer Consumer) (Message, error) {
	if consumer.Lease > 0 {
		return Message{}, &ModeError{Operation: "this call", Mode: "auto"}
	}

	s := c.state(consumer.ID)
	call := &nextCall{done: make(chan struct{})}
	s.mu.Lock()
	s.nexts = append(s.nexts, call)
	first := len(s.nexts) == 1
	s.mu.Unlock()

	if first {
		c.nextForAll(ctx, consumer, s)
	}
	<-call.done // in bounded time: the first call has a deadline
	return call.message, call.err
}

// nextForAll takes a message for each call of Next that is waiting.
func (c *Consumers) nextForAll(ctx context.Context, consumer Consumer, s *consumerState) {
	err := s.await(ctx)

	s.mu.Lock()
	calls := s.nexts
	s.nexts = nil
	s.mu.Unlock()

	var out []Delivery
	if err == nil {
		out, err = c.fetch(ctx, consumer, s, Limits{Messages: len(calls), Bytes: math.MaxInt})
		s.turn.Release(1)
	}

	for i, call := range calls {
		switch {
		case err != nil:
			call.err = err
		case i < len(out):
			call.message = out[i].Message
		default:
			call.err = &EmptyError{Consumer: consumer.ID, Topic: consumer.Topic}
		}
		close(call.done)
	}
}

// Fetch delivers the consumer's next messages; it returns none if the topic has none
// now. The delivery is stored before Fetch returns: in mode auto the messages are never
// delivered again, in mode lease not before the lease has run out. Errors: [*TopicNotFoundError] if the topic
// does not exist any more, [*ConsumerNotFoundError], [*SupersededError],
// [*DeadLetterError], [*UnavailableError].
func (c *Consumers) Fetch(ctx context.Context, consumer Consumer, limits Limits) ([]Delivery, error) {
	s := c.state(consumer.ID)
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	defer s.turn.Release(1)
	return c.fetch(ctx, consumer, s, limits)
}

// fetch does the work of Fetch. The caller has the turn.
func (c *Consumers) fetch(
	ctx context.Context, consumer Consumer, s *consumerState, limits Limits,
) ([]Delivery, error) {
	// Another process may have purged the topic, or changed its settings.
	if !c.topics.opts.Alone {
		s.ahead = readAhead{}
	}

	for {
		fresh := !s.loaded
		if err := c.load(ctx, consumer, s); err != nil {
			return nil, err
		}
		if limits.Stream != nil && *limits.Stream != s.cursor.Stream {
			return nil, &SupersededError{}
		}

		next := s.cursor.clone()
		out, err := c.nextBatch(ctx, consumer, s, &next, limits)
		if err != nil {
			s.forget()
			return nil, err
		}

		if len(out) == 0 && len(next.Leases) == len(s.cursor.Leases) {
			if fresh || c.topics.opts.Alone {
				return nil, nil
			}
			// "Nothing" is answered only if the cursor is still the stored one:
			// another process may have changed it.
			if same, err := c.confirm(ctx, consumer, s); same || err != nil {
				return nil, err
			}
			continue
		}

		before := s.cursor.dropped(consumer).Messages
		stored, err := c.store(ctx, consumer, s, next)
		if err != nil {
			return nil, err
		}
		if stored {
			if inAll := next.dropped(consumer).Messages; inAll > before {
				c.logDropped(consumer, inAll-before, inAll)
			}
			return out, nil
		}
	}
}

// nextBatch returns the messages to deliver now, and records in next that they are delivered.
func (c *Consumers) nextBatch(
	ctx context.Context, consumer Consumer, s *consumerState, next *Cursor, limits Limits,
) ([]Delivery, error) {
	if next.paused(time.Now()) {
		return nil, nil
	}
	if consumer.Lease > 0 {
		return c.redeliver(ctx, consumer, s, next, limits)
	}

	var out []Delivery
	bytes := 0
	for len(out) < limits.Messages && bytes < limits.Bytes {
		m, ok, err := c.message(ctx, consumer, s, next.Position, limits.Messages-len(out))
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}

		if err := c.pass(ctx, consumer, s, next, m.Sequence); err != nil {
			return nil, err
		}
		next.Position = m.Sequence
		out = append(out, Delivery{Message: m})
		bytes += len(m.Data)
	}
	return out, nil
}

// message returns the first message after position; it returns false if none exists. It
// takes the message from those that were read ahead, or else reads at least wanted
// messages.
func (c *Consumers) message(
	ctx context.Context, consumer Consumer, s *consumerState, position uint64, wanted int,
) (m Message, ok bool, err error) {
	if !s.ahead.good(c.topics, consumer.Topic) {
		s.ahead, err = c.reads.read(ctx, consumer, position+1, wanted)
		c.dropLater()
		if err != nil || len(s.ahead.messages) == 0 {
			return Message{}, false, err
		}
	}
	m, s.ahead.messages = s.ahead.messages[0], s.ahead.messages[1:]
	if len(s.ahead.messages) == 0 {
		s.ahead.messages = nil // frees those that were taken
	}
	return m, true, nil
}

// FetchWait works like [Consumers.Fetch], but waits for a message until ctx ends. The
// end of ctx is not an error. A message that was delivered too often and cannot be moved to the
// dead-letter topic does not keep others back: its error is returned if nothing
// else comes.
func (c *Consumers) FetchWait(ctx context.Context, consumer Consumer, limits Limits) ([]Delivery, error) {
	w := &fetchWait{consumers: c, consumer: consumer, limits: limits}
	room := room{memory: limits.Memory, messages: limits.Messages, bytes: limits.Bytes}
	out, err := waitFor(ctx, c.topics, consumer.Topic, room, w.look)
	if err == nil && len(out) == 0 && w.deadLetter != nil {
		return nil, w.deadLetter
	}
	return out, err
}

// fetchWait is one call of FetchWait.
type fetchWait struct {
	consumers  *Consumers
	consumer   Consumer
	limits     Limits
	deadLetter *DeadLetterError // the one of the latest fetch, or nil
}

// look fetches once. [waitFor] calls it.
func (w *fetchWait) look(ctx context.Context) ([]Delivery, time.Time, error) {
	out, err := w.consumers.Fetch(ctx, w.consumer, w.limits)
	switch {
	case errors.As(err, &w.deadLetter):
		return nil, time.Time{}, nil
	case err != nil || len(out) > 0:
		return out, time.Time{}, err
	}
	w.deadLetter = nil
	return nil, w.consumers.nextChange(w.consumer), nil
}

// nextChange returns the time at which the consumer can get a message even if the topic
// gets no new one: the end of its pause or of its next lease. It returns zero if that
// is not known.
func (c *Consumers) nextChange(consumer Consumer) time.Time {
	s, ok := c.active.Get(consumer.ID)
	if !ok || !s.turn.TryAcquire(1) {
		return time.Time{}
	}
	defer s.turn.Release(1)

	if now := time.Now(); s.cursor.paused(now) {
		return s.cursor.PausedUntil
	}
	return s.cursor.wake()
}
