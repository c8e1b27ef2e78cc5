package jetstream

import (
	"context"
	"errors"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// activeConsumers is how many consumers' state a process remembers. The one
	// that was used longest ago is forgotten first, and read again when it
	// comes back. At most activeConsumers times readAheadBytes, and a message
	// each, are held in memory.
	activeConsumers = 4096
)

// A Consumer is one independent subscriber of one topic. Any number of workers
// may share it, through any number of processes.
//
// The registry stores it as JSON: the names of the fields stay, as older versions
// of dq wrote them.
type Consumer struct {
	ID    int64  `json:"-"` // the registry gives it out, and stores the consumer under it
	Topic string `json:"topic"`
	// Start is the sequence before the consumer's first message.
	Start uint64 `json:"start,omitempty"`
	// TopicCreated is when the topic was created, in nanoseconds of Unix time: a
	// topic that is created later may have the same name. Old consumers have 0.
	TopicCreated int64  `json:"born,omitempty"`
	Name         string `json:"name,omitempty"` // "" if it has none
	Key          string `json:"key,omitempty"`  // if not "", it sees only messages with that key

	// Lease is for how long a message is handed out before it is handed out
	// again, unless it is acknowledged. 0 is mode auto: a message is consumed
	// when it is handed out. What follows is for mode lease only.
	Lease time.Duration `json:"lease,omitempty"`
	// MaxInFlight bounds how many messages may be handed out and not
	// acknowledged.
	MaxInFlight int `json:"max_in_flight,omitempty"`
	// MaxDeliveries is how often a message is handed out at most; 0 is no limit.
	MaxDeliveries int `json:"max_deliveries,omitempty"`
	// DeadLetterTopic gets the messages that were handed out so often.
	DeadLetterTopic string `json:"dead_letter_topic,omitempty"`
}

// Label is the consumer's name or, if it has none, its id.
func (c Consumer) Label() string {
	if c.Name != "" {
		return c.Name
	}
	return strconv.FormatInt(c.ID, 10)
}

// Consumers hand out messages, in order. The truth is the stored [Cursor]; what
// is held here is a guess that the store confirms or refuses, so that any
// number of processes may serve one consumer. All methods are safe for
// concurrent use.
type Consumers struct {
	topics  *Topics
	cursors *cursors
	reads   *sharedReads
	active  *lru.Cache[int64, *position]
}

// NewConsumers returns the consumers of topics.
func NewConsumers(ctx context.Context, topics *Topics) (*Consumers, error) {
	stored, err := openCursors(ctx, topics)
	if err != nil {
		return nil, err
	}
	active, err := lru.New[int64, *position](activeConsumers)
	if err != nil {
		return nil, err
	}
	reads, err := newSharedReads(topics)
	if err != nil {
		return nil, err
	}
	return &Consumers{topics: topics, cursors: stored, reads: reads, active: active}, nil
}

// update changes a consumer's cursor. Change may be called several times, each
// time with the latest cursor, and reports whether it is to be stored.
func (c *Consumers) update(ctx context.Context, consumer Consumer, change func(next *Cursor) (bool, error)) error {
	p := c.position(consumer.ID)
	if err := p.await(ctx); err != nil {
		return err
	}
	defer p.turn.Release(1)
	for {
		fresh := !p.known
		if err := c.know(ctx, consumer, p); err != nil {
			return err
		}
		next := p.cursor.clone()
		changed, err := change(&next)
		if err != nil {
			return err
		}
		if !changed {
			if fresh {
				return nil
			}
			p.forget()
			continue
		}
		if next.Position != p.cursor.Position {
			p.ahead = readAhead{}
		}
		stored, err := c.store(ctx, consumer, p, next)
		if stored {
			c.topics.wake(consumer.Topic) // who waits may get something now
		}
		if stored || err != nil {
			return err
		}
	}
}

// A State is how far a consumer is.
type State struct {
	Position    uint64 // the sequence handed out last
	Lag         uint64 // messages that were never handed out
	InFlight    uint64 // messages that were handed out and are not acknowledged
	PausedUntil time.Time
}

// State returns exactly how far consumer is. Errors: [*TopicNotFoundError] if the
// topic is gone, [*UnavailableError].
func (c *Consumers) State(ctx context.Context, consumer Consumer) (State, error) {
	cursor, err := c.cursors.load(ctx, consumer.ID, consumer.Start)
	if err != nil {
		return State{}, err
	}
	lag, err := c.topics.Pending(ctx, consumer.Topic, cursor.Position+1, consumer.Key)
	if err != nil {
		return State{}, err
	}
	state := State{Position: cursor.Position, Lag: lag, InFlight: uint64(len(cursor.Leases))}
	if cursor.paused(time.Now()) {
		state.PausedUntil = cursor.PausedUntil
	}
	return state, nil
}

// Remove ends consumer for ever. Calls of it that wait fail.
// Errors: [*UnavailableError].
func (c *Consumers) Remove(ctx context.Context, consumer Consumer) error {
	err := c.update(ctx, consumer, func(next *Cursor) (bool, error) {
		*next = Cursor{Position: next.Position, Gone: true, revision: next.revision}
		return true, nil
	})
	var gone *ConsumerNotFoundError
	if errors.As(err, &gone) {
		return nil
	}
	return err
}
