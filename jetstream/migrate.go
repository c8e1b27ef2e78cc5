package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

// A leaseCursor is what earlier versions of dq stored of a consumer in mode lease, as the
// entry of its cursor.
type leaseCursor struct {
	Position    uint64     `json:"position"` // the sequence delivered last
	Leases      []oldLease `json:"leases"`   // of the messages that are not acknowledged, by sequence
	PausedUntil time.Time  `json:"paused_until"`
}

// oldLease is a lease in a leaseCursor.
type oldLease struct {
	Sequence uint64 `json:"s"`
	Until    int64  `json:"u"` // when it ends, in milliseconds of Unix time
}

// leases returns the cursor that an earlier version of dq has left of a consumer, nil if
// there is none.
func (c *cursors) leases(ctx context.Context, consumer Consumer) (*leaseCursor, error) {
	if consumer.Generation > 0 {
		return nil, nil
	}
	entry, err := c.kv.Get(ctx, cursorKey(consumer.ID))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, engine.Unavailable("read the position", err)
	}

	cursor, err := decodeCursor(entry.Value())
	if err != nil {
		return nil, engine.Unavailable("read the position", err)
	}
	cursor.revision = entry.Revision()
	if c.journal != nil {
		c.journal.apply(consumer.ID, &cursor)
	}
	old := leaseCursor{}
	if entry.Value()[0] == '{' {
		if err := json.Unmarshal(entry.Value(), &old); err != nil {
			return nil, engine.Unavailable("read the leases", err)
		}
	}
	old.Position = cursor.Position
	return &old, nil
}

// rewind forgets what comes after the last message of the topic, which a power cut took.
func (old *leaseCursor) rewind(last uint64) {
	old.Position = min(old.Position, last)
	old.Leases = slices.DeleteFunc(old.Leases, func(l oldLease) bool { return l.Sequence > last })
}

// start returns the sequence before the first message that is not done.
func (old *leaseCursor) start() uint64 {
	if len(old.Leases) == 0 {
		return old.Position
	}
	return min(old.Position, old.Leases[0].Sequence-1)
}

// restore brings the durable of consumer, which was moved to the start of old, to the
// state of old: messages that are leased are in flight until the lease ends, and the
// others up to its position are acknowledged.
func (c *Consumers) restore(ctx context.Context, consumer Consumer, old *leaseCursor) error {
	if len(old.Leases) > 0 {
		if err := c.restoreLeases(ctx, consumer, old); err != nil {
			return err
		}
	}
	if old.PausedUntil.After(time.Now()) {
		return c.pauseDurable(ctx, consumer, old.PausedUntil)
	}
	return nil
}

// restoreLeases does the part of restore that is about messages. All of them are
// delivered to this call, for which the engine must allow more in flight.
func (c *Consumers) restoreLeases(ctx context.Context, consumer Consumer, old *leaseCursor) error {
	all, err := c.topics.Pending(ctx, consumer.Topic, old.start()+1, consumer.Key)
	if err != nil {
		return err
	}
	later, err := c.topics.Pending(ctx, consumer.Topic, old.Position+1, consumer.Key)
	if err != nil {
		return err
	}

	cfg := durableConfig(consumer)
	cfg.MaxAckPending += readAllMessages
	if _, err := c.topics.js.UpdateConsumer(ctx, StreamName(consumer.Topic), cfg); err != nil {
		return c.durableError(ctx, consumer, "change the consumer", err)
	}
	for left := int(all - min(later, all)); left > 0; {
		n, err := c.restoreSome(ctx, consumer, old, min(left, readAllMessages))
		if err != nil {
			return err
		}
		if left -= n; n == 0 { // the others were removed meanwhile
			break
		}
	}
	_, err = c.topics.js.UpdateConsumer(ctx, StreamName(consumer.Topic), durableConfig(consumer))
	if err != nil {
		return c.durableError(ctx, consumer, "change the consumer", err)
	}
	return nil
}

// restoreSome does the work of restoreLeases for at most want messages.
func (c *Consumers) restoreSome(ctx context.Context, consumer Consumer, old *leaseCursor, want int) (int, error) {
	until := make(map[uint64]time.Time, len(old.Leases))
	for _, l := range old.Leases {
		until[l.Sequence] = time.UnixMilli(l.Until)
	}
	messages, _, err := c.durables.pulls.take(ctx, c.durable(consumer), &takeCall{want: want})
	if err != nil {
		return 0, err
	}

	var done []delivery
	for _, m := range messages {
		d, _ := parseAckSubject(m.Reply)
		end, leased := until[d.sequence]
		if !leased && d.sequence <= old.Position {
			done = append(done, d)
			continue
		}
		if err := c.say(ctx, consumer, []delivery{d}, nakAfter(time.Until(end))); err != nil {
			return 0, err
		}
	}
	if len(done) == 0 {
		return len(messages), nil
	}
	return len(messages), c.done(ctx, consumer, done, "")
}
