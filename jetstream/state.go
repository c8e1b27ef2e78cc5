package jetstream

import (
	"context"
	"strconv"
	"sync"

	"golang.org/x/sync/semaphore"

	"dq/jetstream/engine"
)

// consumerState is what this process remembers of one consumer. The calls of one
// consumer take turns; the holder of the turn owns the fields below it.
type consumerState struct {
	mu    sync.Mutex
	nexts []*nextCall // waiting for the turn to take one message each

	turn   *semaphore.Weighted
	loaded bool      // cursor was read from the store, and no sign says that it changed since
	cursor Cursor    // the stored one if loaded
	ahead  readAhead // messages after the cursor

	deadLettersWait bool // the dead-letter topic has not taken the last message, and the log says so
}

func (s *consumerState) forget() { s.loaded, s.ahead = false, readAhead{} }

// await waits until it is the call's turn. The caller releases the turn.
func (s *consumerState) await(ctx context.Context) error {
	if s.turn.TryAcquire(1) { // saves the cost of watching ctx
		return nil
	}
	if err := s.turn.Acquire(ctx, 1); err != nil {
		return engine.Unavailable("serve the consumer while an earlier call of it is under way", err)
	}
	return nil
}

// state returns what this process remembers of a consumer.
func (c *Consumers) state(id int64) *consumerState {
	if s, ok := c.active.Get(id); ok {
		return s
	}
	s := &consumerState{turn: semaphore.NewWeighted(1)}
	if other, found, _ := c.active.PeekOrAdd(id, s); found {
		return other
	}
	return s
}

// load reads the stored cursor into s unless this process knows it already.
// Errors: [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) load(ctx context.Context, consumer Consumer, s *consumerState) (err error) {
	if !s.loaded {
		if s.cursor, err = c.cursors.load(ctx, consumer.ID, consumer.Start); err != nil {
			return err
		}
		s.loaded, s.ahead = true, readAhead{}
	}
	if s.cursor.Gone { // this process deleted it
		return &ConsumerNotFoundError{Consumer: strconv.FormatInt(consumer.ID, 10), Deleted: true}
	}
	return nil
}

// confirm reads the stored cursor again, and reports whether s already had it.
func (c *Consumers) confirm(ctx context.Context, consumer Consumer, s *consumerState) (same bool, err error) {
	was := s.cursor.revision
	s.forget()
	err = c.load(ctx, consumer, s)
	return s.cursor.revision == was, err
}

// store stores next as the consumer's cursor. If another process has changed the cursor
// meanwhile, it stores nothing, returns false, and forgets the cursor in s.
func (c *Consumers) store(ctx context.Context, consumer Consumer, s *consumerState, next Cursor) (bool, error) {
	next, stored, err := c.cursors.store(ctx, consumer.ID, s.cursor, next)
	if err != nil || !stored { // after an error it is unknown what is stored
		s.forget()
		return false, err
	}
	s.cursor = next
	return true, nil
}

// update changes a consumer's cursor. It may call change several times, each time
// with the latest cursor; change reports whether the cursor is to be stored.
// Errors: those of change, [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) update(
	ctx context.Context, consumer Consumer, change func(next *Cursor) (bool, error),
) error {
	s := c.state(consumer.ID)
	if err := s.await(ctx); err != nil {
		return err
	}
	defer s.turn.Release(1)

	for {
		fresh := !s.loaded
		if err := c.load(ctx, consumer, s); err != nil {
			return err
		}
		next := s.cursor.clone()
		changed, err := change(&next)
		if err != nil {
			return err
		}

		// "Nothing to change" counts only if it was decided on a cursor that was
		// just read: another process may have changed it.
		if !changed {
			if fresh {
				return nil
			}
			s.forget()
			continue
		}

		if next.Position != s.cursor.Position {
			s.ahead = readAhead{}
		}
		stored, err := c.store(ctx, consumer, s, next)
		if stored {
			c.topics.wake(consumer.Topic) // a waiting call may get a message now
		}
		if stored || err != nil {
			return err
		}
	}
}
