package jetstream

import (
	"context"
	"slices"
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

// Resume has a stream of consumer, which is in mode auto, take over from those
// that there may be: what one of them was given and its reader did not get would
// be lost otherwise. Unless last is nil the stream goes on behind that sequence,
// which is the last that its reader got. It returns what Fetch knows the stream
// by. Errors: [*ConsumerGoneError], [*UnavailableError].
func (c *Consumers) Resume(ctx context.Context, consumer Consumer, last *uint64) (stream uint64, err error) {
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

// Rewind has those of consumers go on behind the last message of their topic that
// stand further: the newest messages are gone, as a power cut may take them, and
// what is stored next gets their sequences. It returns how many there were. It is
// to be called before anything is stored, and only where no other process reaches
// the engine. Errors: [*UnavailableError].
func (c *Consumers) Rewind(ctx context.Context, consumers []Consumer) (rewound int, err error) {
	last := make(map[string]uint64)
	topics, err := c.topics.List(ctx)
	if err != nil {
		return 0, err
	}
	for _, topic := range topics {
		last[topic.Name] = topic.LastSequence
	}
	stored, err := c.cursors.all(ctx, c.topics)
	if err != nil {
		return 0, err
	}
	for _, consumer := range consumers {
		end, ok := last[consumer.Topic]
		was, moved := stored[consumer.ID]
		if !moved {
			was.Position = consumer.Start
			if c.cursors.journal != nil {
				c.cursors.journal.apply(consumer.ID, &was)
			}
		}
		if !ok || was.Gone || was.Position <= end {
			continue
		}
		next := was.clone()
		next.Position = end
		next.Leases = slices.DeleteFunc(next.Leases, func(l Lease) bool { return l.Sequence > end })
		next.Epoch++ // a token of a message that is gone is none of what has its sequence now
		if _, _, err := c.cursors.store(ctx, consumer.ID, was, next); err != nil {
			return rewound, err
		}
		rewound++
	}
	return rewound, nil
}
