package jetstream

import (
	"context"
	"time"
)

// Seek moves the consumer so that its next message is the first one after position.
// All leases end. Errors: [*TopicNotFoundError], [*UnavailableError].
func (c *Consumers) Seek(ctx context.Context, consumer Consumer, position uint64) error {
	return c.update(ctx, consumer, func(next *Cursor) (bool, error) {
		to, err := c.countForSeek(ctx, consumer, next, position)
		if err != nil {
			return false, err
		}
		next.Position, next.Leases = to, nil
		next.Epoch++
		return true, nil
	})
}

// TakeOver opens a new stream of events (SSE) on consumer, which is in mode auto, and
// ends the earlier ones: they get a [*SupersededError]. The consumer continues after
// last, the sequence of the last message that the client received. Without that,
// messages which an earlier stream fetched and the client did not receive would be
// lost. If last is nil, nothing changes. The result is the Stream of [Limits] for the
// fetches of this stream. Errors: [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) TakeOver(ctx context.Context, consumer Consumer, last *uint64) (stream uint64, err error) {
	err = c.update(ctx, consumer, func(next *Cursor) (bool, error) {
		if last != nil {
			if *last < next.Position && next.Dropped != nil {
				next.Dropped = new(next.Dropped.back(*last))
			}
			next.Position = *last
			next.Stream++
		}
		stream = next.Stream
		return last != nil, nil
	})
	return stream, err
}

// Pause stops deliveries to the consumer before the time until; a time in the past ends
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
