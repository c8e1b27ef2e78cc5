package service

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"dq/jetstream"
)

const (
	// abandonedAfter is how long after the registration or a seek of a consumer this process leaves it to another one
	// to make the durable. The other process must have given up by then: a second move of the durable would bring back
	// what was acknowledged in between.
	abandonedAfter = 15 * time.Second

	// makingPause is how long a call waits before it looks again whether another process
	// has made a consumer.
	makingPause = 25 * time.Millisecond
)

// making are the turns of calls that make or move consumers in mode lease.
type making struct {
	turns [64]sync.Mutex
	mine  sync.Map // int64: struct{}, the ids of consumers that a call of this process is making
}

// lock waits for the turn of a consumer, and of others that have had its name, and returns
// the function that ends it.
func (m *making) lock(c jetstream.Consumer) (unlock func()) {
	turn := &m.turns[maphash.String(seed, c.Topic+"/"+c.Label())%uint64(len(m.turns))]
	turn.Lock()
	return turn.Unlock
}

var seed = maphash.MakeSeed()

// unmade reports whether c is in mode lease and does not stand at its start yet.
func unmade(c jetstream.Consumer) bool { return c.Lease > 0 && !c.Made }

// ready returns c as soon as it can be used. A consumer in mode lease needs a durable. The call that registers it makes
// the durable or, if that call was interrupted, the next call does.
// Errors: those of [jetstream.Consumers.Make].
func (s *Service) ready(ctx context.Context, c jetstream.Consumer) (jetstream.Consumer, error) {
	for unmade(c) {
		next, wait, err := s.makeUnlessOther(ctx, c)
		if err != nil || !wait {
			return next, err
		}
		select {
		case <-time.After(makingPause):
		case <-ctx.Done():
			return c, &jetstream.UnavailableError{
				Operation: "use the consumer, which another broker is creating or moving", Err: context.Cause(ctx),
			}
		}
	}
	return c, nil
}

// makeUnlessOther makes c unless another process may be doing that; then wait is true.
func (s *Service) makeUnlessOther(
	ctx context.Context, c jetstream.Consumer,
) (_ jetstream.Consumer, wait bool, err error) {
	defer s.making.lock(c)()
	_, mine := s.making.mine.Load(c.ID)
	now, err := s.Registry.UpdateConsumer(ctx, c.ID, func(c *jetstream.Consumer, stored time.Time) bool {
		wait = !mine && !s.Consumers.Alone() && time.Since(stored) < abandonedAfter
		return false
	})
	switch {
	case err != nil || !unmade(now):
		return now, false, err
	case wait:
		return now, true, nil
	}
	now, err = s.make(ctx, now)
	return now, false, err
}

// make gives c its durable, at its start, and records that. The caller has the turn of c.
func (s *Service) make(ctx context.Context, c jetstream.Consumer) (jetstream.Consumer, error) {
	if err := s.Consumers.Make(ctx, c); err != nil {
		return c, err
	}
	return s.Registry.UpdateConsumer(ctx, c.ID, func(now *jetstream.Consumer, _ time.Time) bool {
		if now.Generation != c.Generation { // another process has moved it since
			return false
		}
		now.Made = true
		return true
	})
}

// readyOrFree returns c, which has just been registered or has the name that was asked for,
// as soon as it can be used. It deletes the registration if c cannot be made because a
// NATS client has a consumer of that name, or if a NATS client deleted its durable; then
// the error is a [*jetstream.ConsumerNotFoundError].
func (s *Service) readyOrFree(ctx context.Context, c jetstream.Consumer) (jetstream.Consumer, error) {
	if c.Lease == 0 {
		return c, nil
	}

	made := c
	var err error
	if c.Made {
		_, err = s.Consumers.State(ctx, c)
	} else {
		s.making.mine.Store(c.ID, struct{}{})
		defer s.making.mine.Delete(c.ID)
		made, err = s.ready(ctx, c)
	}

	var foreign *jetstream.ForeignConsumerError
	var gone *jetstream.ConsumerNotFoundError
	if errors.As(err, &foreign) || errors.As(err, &gone) {
		if err := s.Registry.RemoveConsumer(ctx, c.ID); err != nil && !errors.As(err, &gone) {
			return c, err
		}
	}
	return made, err
}

// seekLeases moves a consumer in mode lease. Its generation is raised first: from then on
// no token of an earlier delivery counts.
func (s *Service) seekLeases(ctx context.Context, c jetstream.Consumer, position uint64) error {
	defer s.making.lock(c)()
	s.making.mine.Store(c.ID, struct{}{})
	defer s.making.mine.Delete(c.ID)

	c, err := s.Registry.UpdateConsumer(ctx, c.ID, func(c *jetstream.Consumer, _ time.Time) bool {
		c.Start, c.Generation, c.Made = position, c.Generation+1, false
		return true
	})
	if err != nil {
		return err
	}
	_, err = s.make(ctx, c)
	return err
}

// Recover finishes what an earlier process has left half done, and gives consumers in
// mode lease that an earlier version of dq has stored their durable. The caller has the
// engine in its process. It returns how many consumers it made or moved.
func (s *Service) Recover(ctx context.Context) (count int, err error) {
	consumers, err := s.Registry.ConsumerStarts(ctx)
	if err != nil {
		return 0, err
	}
	for _, c := range consumers {
		if !unmade(c) {
			continue
		}
		s.making.mine.Store(c.ID, struct{}{})
		_, err := s.ready(ctx, c)
		s.making.mine.Delete(c.ID)

		var noTopic *jetstream.TopicNotFoundError
		var gone *jetstream.ConsumerNotFoundError
		switch {
		case errors.As(err, &noTopic) || errors.As(err, &gone): // it goes with its topic
		case err != nil:
			return count, err
		default:
			count++
		}
	}
	return count, nil
}
