package jetstream

import (
	"context"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"
)

const (
	// A consumer that is behind is served from messages read ahead for it: as
	// many as one read brings, within these bounds.
	readAheadMessages = 64
	readAheadBytes    = 64 << 10

	// activeConsumers is how many consumers' state a process remembers. The one
	// that was used longest ago is forgotten first, and read again when it
	// comes back. At most activeConsumers times readAheadBytes, and a message
	// each, are held in memory.
	activeConsumers = 4096
)

// A Consumer is one independent subscriber of one topic.
type Consumer struct {
	ID    int64
	Topic string
	Start uint64 // the topic's last sequence when the consumer registered
}

// Consumers hand out messages, each once to each consumer, in order. The
// truth is the stored [Cursor]; what is held here is a guess that the store
// confirms or refuses, so that any number of processes may serve one consumer.
// All methods are safe for concurrent use.
type Consumers struct {
	topics  *Topics
	cursors *cursors
	active  *lru.Cache[int64, *position]
}

// NewConsumers returns the consumers of topics.
func NewConsumers(ctx context.Context, topics *Topics) (*Consumers, error) {
	stored, err := openCursors(ctx, topics.js, topics.storage)
	if err != nil {
		return nil, err
	}
	active, err := lru.New[int64, *position](activeConsumers)
	if err != nil {
		return nil, err
	}
	return &Consumers{topics: topics, cursors: stored, active: active}, nil
}

// position is what this process remembers of one consumer. The calls of one
// consumer take turns.
type position struct {
	turn   *semaphore.Weighted
	known  bool      // cursor was read from the store, and nothing says it has changed
	cursor Cursor    // as far as known
	ahead  []Message // the messages behind the cursor, as far as they were read
}

func (p *position) forget() { p.known, p.ahead = false, nil }

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

// Next returns the consumer's next message. The consumer's new position is
// stored when it returns, so the message is never returned again.
// Errors: [*EmptyError] if there is none, [*NotFoundError] if the topic is
// gone, [*UnavailableError].
func (c *Consumers) Next(ctx context.Context, consumer Consumer) (Message, error) {
	p := c.position(consumer.ID)
	if err := p.turn.Acquire(ctx, 1); err != nil {
		return Message{}, unavailable("consume while an earlier call of this consumer is under way", err)
	}
	defer p.turn.Release(1)
	for {
		if err := c.fill(ctx, consumer, p); err != nil {
			p.forget()
			return Message{}, err
		}
		next := p.ahead[0]
		cursor, moved, err := c.cursors.store(ctx, consumer.ID, p.cursor, next.Sequence)
		if err != nil {
			p.forget() // where the cursor stands now is unknown
			return Message{}, err
		}
		if moved {
			p.cursor, p.ahead = cursor, p.ahead[1:]
			return next, nil
		}
		p.forget() // another process served this consumer: look again
	}
}

// fill makes sure that p.ahead starts with the message behind p.cursor.
func (c *Consumers) fill(ctx context.Context, consumer Consumer, p *position) error {
	if len(p.ahead) > 0 {
		return nil
	}
	for {
		fresh := !p.known
		if fresh {
			cursor, err := c.cursors.load(ctx, consumer.ID, consumer.Start)
			if err != nil {
				return err
			}
			p.cursor, p.known = cursor, true
		}
		ahead, _, err := c.topics.Read(ctx, consumer.Topic, p.cursor.Position+1, readAheadMessages, readAheadBytes)
		if err != nil {
			return err
		}
		if len(ahead) > 0 {
			p.ahead = ahead
			return nil
		}
		if !fresh {
			// "Empty" is said only of a cursor just read: another process may
			// have moved this one.
			cursor, err := c.cursors.load(ctx, consumer.ID, consumer.Start)
			if err != nil {
				return err
			}
			if cursor != p.cursor {
				p.cursor = cursor
				continue
			}
		}
		return &EmptyError{Consumer: consumer.ID, Topic: consumer.Topic}
	}
}

// Size is exactly how many messages consumer has not consumed yet.
// Errors: [*NotFoundError] if the topic is gone, [*UnavailableError].
func (c *Consumers) Size(ctx context.Context, consumer Consumer) (uint64, error) {
	cursor, err := c.cursors.load(ctx, consumer.ID, consumer.Start)
	if err != nil {
		return 0, err
	}
	return c.topics.Pending(ctx, consumer.Topic, cursor.Position+1)
}
