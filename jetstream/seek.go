package jetstream

import (
	"context"
	"time"
)

// Seek moves the consumer so that its next message is the first one after position.
// All leases end. Errors: [*UnavailableError].
func (c *Consumers) Seek(ctx context.Context, consumer Consumer, position uint64) error {
	return c.update(ctx, consumer, func(next *Cursor) (bool, error) {
		next.Position, next.Leases = position, nil
		next.Epoch++
		return true, nil
	})
}

// TakeOver has a client that reads a stream of events (SSE) go on after last, the
// sequence of the last message that it received; consumer is in mode auto. Messages
// that an earlier stream fetched and the client did not receive would be lost
// otherwise. From then on the earlier streams get a [*SupersededError]. With last nil
// nothing changes. The result is the Stream of [Limits] for the fetches of this
// stream. Errors: [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) TakeOver(ctx context.Context, consumer Consumer, last *uint64) (stream uint64, err error) {
	err = c.update(ctx, consumer, func(next *Cursor) (bool, error) {
		if last != nil {
			next.Position = *last
			next.Stream++
		}
		stream = next.Stream
		return last != nil, nil
	})
	return stream, err
}

// Pause delivers no messages to the consumer before until; a time in the past ends
// the pause. Errors: [*UnavailableError].
func (c *Consumers) Pause(ctx context.Context, consumer Consumer, until time.Time) error {
	return c.update(ctx, consumer, func(next *Cursor) (bool, error) {
		if !until.After(time.Now()) {
			until = time.Time{}
		}
		next.PausedUntil = until
		return true, nil
	})
}
