package jetstream

import (
	"context"
	"time"
)

// Seek moves the consumer so that its next message is the first one behind
// position. All leases end. Errors: [*UnavailableError].
func (c *Consumers) Seek(ctx context.Context, consumer Consumer, position uint64) error {
	return c.update(ctx, consumer, func(next *Cursor) (bool, error) {
		next.Position, next.Leases = position, nil
		next.Epoch++
		return true, nil
	})
}

// TakeOver has a stream of consumer, which is in mode auto, take over from those
// that there may be: what one of them was given and its reader did not get would
// be lost otherwise. Unless last is nil the stream goes on behind that sequence,
// which is the last that its reader got. It returns what Fetch knows the stream
// by. Errors: [*ConsumerNotFoundError], [*UnavailableError].
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

// Pause keeps the consumer from getting messages until then; a time that is
// over lets it go on. Errors: [*UnavailableError].
func (c *Consumers) Pause(ctx context.Context, consumer Consumer, until time.Time) error {
	return c.update(ctx, consumer, func(next *Cursor) (bool, error) {
		if !until.After(time.Now()) {
			until = time.Time{}
		}
		next.PausedUntil = until
		return true, nil
	})
}
