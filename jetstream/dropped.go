package jetstream

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// keptGaps is how many gaps a cursor remembers. They are needed when a stream of the consumer starts again at an
	// earlier position.
	keptGaps = 16

	// dropLogPause is the shortest time between two lines of the log about dropped messages.
	dropLogPause = time.Second
)

// Dropped is what a cursor knows of the messages that were removed before the consumer had read them: by the limits of
// the topic or their own time to live, not by a client. If a sequence is missing between two messages that the consumer
// gets, that message was removed.
type Dropped struct {
	Messages uint64 `json:"n,omitempty"` // how many were removed
	// Holes is how many messages up to the sequence End were missing already when the consumer was registered or moved
	// by a seek. They are not counted when the consumer passes them.
	Holes uint64 `json:"holes,omitempty"`
	End   uint64 `json:"end,omitempty"`
	Gaps  []Gap  `json:"gaps,omitempty"` // the latest that were counted
}

// A Gap is what was counted when a consumer got the first message after the position After.
type Gap struct {
	After    uint64 `json:"a"`
	Messages uint64 `json:"n,omitempty"`
	Holes    uint64 `json:"holes,omitempty"`
}

// pass returns d after the consumer has got the message next, when it had read up to position before. Of the messages
// between the two, removed are missing, and clients purged so many of these as purged says.
func (d Dropped) pass(position, next, removed, purged uint64) Dropped {
	gap := Gap{After: position, Messages: removed - min(removed, purged)}
	if position < d.End {
		gap.Holes = min(d.Holes, gap.Messages, min(next-1, d.End)-position)
	}
	if gap.Messages == 0 {
		return d
	}

	gap.Messages -= gap.Holes
	d.Messages += gap.Messages
	d.Holes -= gap.Holes
	d.Gaps = append(slices.Clone(d.Gaps), gap)
	if len(d.Gaps) > keptGaps {
		d.Gaps[1].Messages += d.Gaps[0].Messages
		d.Gaps[1].Holes += d.Gaps[0].Holes
		d.Gaps = d.Gaps[1:]
	}
	return d
}

// back returns d after a stream of the consumer has started again at the earlier position.
func (d Dropped) back(position uint64) Dropped {
	d.Gaps = slices.Clone(d.Gaps)
	for len(d.Gaps) > 0 && d.Gaps[len(d.Gaps)-1].After >= position {
		gap := d.Gaps[len(d.Gaps)-1]
		d.Messages -= gap.Messages
		d.Holes += gap.Holes
		d.Gaps = d.Gaps[:len(d.Gaps)-1]
	}
	return d
}

// dropped returns what c, the cursor of consumer, knows of dropped messages.
func (c *Cursor) dropped(consumer Consumer) Dropped {
	if c.Dropped == nil {
		return Dropped{Holes: consumer.Holes, End: consumer.End}
	}
	return *c.Dropped
}

// unread says which messages a topic has, and lacks, after a position.
type unread struct {
	messages, removed uint64
	first, last       uint64 // sequences of the topic; first is one more than last if it has no message
}

// unread returns which messages topic has, and lacks, from a position to its end. Errors: [*TopicNotFoundError],
// [*UnavailableError].
func (t *Topics) unread(ctx context.Context, topic string, position uint64) (u unread, err error) {
	for range 3 {
		info, err := t.Describe(ctx, topic)
		if err != nil {
			return u, err
		}
		state := unread{first: max(info.FirstSequence, 1), last: info.LastSequence}
		same := state.last == u.last && state.first == u.first
		inside := state.last + 1 - state.first - info.Messages // removed between other messages, by their own ttl

		switch {
		case u.last > 0 && same:
			return u, nil // no end has moved while the engine counted
		case position >= state.last:
			return state, nil
		case position < state.first:
			state.messages, state.removed = info.Messages, state.first-1-position+inside
			return state, nil
		case inside == 0:
			state.messages = state.last - position
			return state, nil
		}

		// Only the engine can count between other messages. Then look again whether the topic is still the same.
		u = state
		b, err := t.readBatch(ctx, topic, Range{From: position + 1, Max: 1, MaxBytes: 1})
		if err != nil {
			return u, err
		}
		u.messages = b.pending
		u.removed = u.last - position - min(u.messages, u.last-position)
	}
	return u, nil
}

// pass counts in next, the cursor of consumer, the messages that are missing between its position and sequence, the
// message that is delivered now. It counts nothing for a consumer with a key, because the engine does not say which
// keys the missing messages had.
func (c *Consumers) pass(
	ctx context.Context, consumer Consumer, s *consumerState, next *Cursor, sequence uint64,
) error {
	if sequence == next.Position+1 || consumer.Key != "" {
		return nil
	}

	// The record is read after the messages, so it has every purge that removed messages before them.
	if s.ahead.purged == nil {
		record, err := c.topics.purgesOf(ctx, consumer.Topic, consumer.TopicCreated)
		if err != nil {
			return err
		}
		s.ahead.purged = &record
	}
	purged := s.ahead.purged.between(next.Position, sequence-1)
	next.Dropped = new(next.dropped(consumer).pass(next.Position, sequence, sequence-1-next.Position, purged))
	return nil
}

// lookAhead returns what is unread after a consumer's cursor, and which count of dropped messages the cursor would have
// at the end of the topic. Errors: [*TopicNotFoundError], [*UnavailableError].
func (c *Consumers) lookAhead(ctx context.Context, consumer Consumer, cursor Cursor) (unread, Dropped, error) {
	u, err := c.topics.unread(ctx, consumer.Topic, cursor.Position)
	dropped := cursor.dropped(consumer)
	if err != nil || u.removed == 0 {
		return u, dropped, err
	}

	record, err := c.topics.purgesOf(ctx, consumer.Topic, consumer.TopicCreated)
	purged := record.between(cursor.Position, u.first-1)
	return u, dropped.pass(cursor.Position, u.last+1, u.removed, purged), err
}

// StartAt returns consumer as it is registered to start after the sequence before. It never starts after the end of
// topic, nor before the first message, so that messages which were removed earlier do not count as dropped.
// Errors: [*TopicNotFoundError], [*UnavailableError].
func (c *Consumers) StartAt(ctx context.Context, consumer Consumer, topic Topic, before uint64) (Consumer, error) {
	consumer.Start = min(max(before+1, topic.FirstSequence, 1)-1, topic.LastSequence)
	consumer.Holes, consumer.End = 0, 0
	if consumer.Start == topic.LastSequence || consumer.Key != "" {
		return consumer, nil
	}

	u, err := c.topics.unread(ctx, topic.Name, consumer.Start)
	if u.removed > 0 {
		consumer.Holes, consumer.End = u.removed, u.last
	}
	return consumer, err
}

// countForSeek counts in next, for a seek to position, what was dropped so far, and records what is missing after
// position, which will not count. It returns the position to move to, which is not before the first message of the
// topic.
func (c *Consumers) countForSeek(
	ctx context.Context, consumer Consumer, next *Cursor, position uint64,
) (uint64, error) {
	if consumer.Key != "" {
		return position, nil
	}
	u, dropped, err := c.lookAhead(ctx, consumer, *next)
	if err != nil {
		return 0, err
	}
	position = max(position, u.first-1)
	after, err := c.topics.unread(ctx, consumer.Topic, position)

	dropped = Dropped{Messages: dropped.Messages}
	if after.removed > 0 {
		dropped.Holes, dropped.End = after.removed, after.last
	}
	if dropped.Messages > 0 || dropped.Holes > 0 || consumer.Holes > 0 || next.Dropped != nil {
		next.Dropped = &dropped
	}
	return position, err
}

// A dropLog limits how often the log says that messages were dropped.
type dropLog struct {
	mu     sync.Mutex
	last   time.Time
	others uint64 // messages that were dropped since then and are not in the log yet
}

// logDropped logs how many messages a consumer missed now, and how many in all since it was registered.
func (c *Consumers) logDropped(consumer Consumer, messages, inAll uint64) {
	l := &c.drops
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.last) < dropLogPause {
		l.others += messages
		return
	}

	c.topics.opts.Logger.Warn("messages were removed before a consumer had read them: "+
		"raise max_age, max_messages, max_bytes or the ttl of messages, or read faster", "topic", consumer.Topic,
		"consumer", consumer.Label(), "messages", messages, "in_all", inAll, "not_logged", l.others)
	l.last, l.others = now, 0
}
