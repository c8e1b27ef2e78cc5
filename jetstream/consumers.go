package jetstream

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// activeConsumers is the number of consumers whose state a process remembers. It
// forgets the one that was used longest ago, and reads it again when it is needed. For
// each consumer it holds at most readAheadBytes and one message in memory.
const activeConsumers = 4096

// A Consumer is one independent subscriber of one topic. Any number of workers
// may share it, through any number of processes.
//
// The registry stores it as JSON: the names of the fields stay, as older versions
// of dq wrote them.
type Consumer struct {
	ID    int64  `json:"-"` // given out by the registry, which stores the consumer under it
	Topic string `json:"topic"`
	// Start is the sequence before the consumer's first message.
	Start uint64 `json:"start,omitempty"`
	// TopicCreated is when the topic was created, in nanoseconds of Unix time: a
	// topic that is created later may have the same name. Old consumers have 0.
	TopicCreated int64  `json:"born,omitempty"`
	Name         string `json:"name,omitempty"` // "" if it has none
	Key          string `json:"key,omitempty"`  // if not "", it sees only messages with that key
	// Holes is how many messages after Start, up to the sequence End, were missing when
	// the consumer was registered. See [Dropped].
	Holes uint64 `json:"holes,omitempty"`
	End   uint64 `json:"end,omitempty"`

	// Lease is how long a worker has to acknowledge a message before it is
	// delivered again. 0 is mode auto: a message is consumed when it is delivered.
	// The fields below are for mode lease only.
	Lease time.Duration `json:"lease,omitempty"`
	// MaxInFlight bounds how many messages may be delivered and not yet
	// acknowledged.
	MaxInFlight int `json:"max_in_flight,omitempty"`
	// MaxDeliveries is how often a message is delivered at most; 0 means no limit.
	MaxDeliveries int `json:"max_deliveries,omitempty"`
	// DeadLetterTopic gets the messages that were delivered MaxDeliveries times
	// and never acknowledged.
	DeadLetterTopic string `json:"dead_letter_topic,omitempty"`
}

// Label returns the consumer's name or, if it has none, its id.
func (c Consumer) Label() string {
	if c.Name != "" {
		return c.Name
	}
	return strconv.FormatInt(c.ID, 10)
}

// Consumers delivers messages to consumers, in order. What counts is the stored
// [Cursor] of a consumer. A process remembers the cursor that it read last; a write is
// refused if the cursor has changed since, so any number of processes may serve one
// consumer. All methods are safe for concurrent use.
type Consumers struct {
	topics  *Topics
	cursors *cursors
	reads   *sharedReads
	active  *lru.Cache[int64, *consumerState]

	drops dropLog

	dropping atomic.Bool                             // what was read ahead is going to be dropped, see dropLater
	after    func(time.Duration, func()) *time.Timer // time.AfterFunc, or a test's
}

// NewConsumers opens the stored cursors and returns the consumers of topics.
// Errors: [*UnavailableError].
func NewConsumers(ctx context.Context, topics *Topics) (*Consumers, error) {
	stored, err := openCursors(ctx, topics)
	if err != nil {
		return nil, err
	}
	active, err := lru.New[int64, *consumerState](activeConsumers)
	if err != nil {
		return nil, err
	}
	reads, err := newSharedReads(topics)
	if err != nil {
		return nil, err
	}
	return &Consumers{topics: topics, cursors: stored, reads: reads, active: active, after: time.AfterFunc}, nil
}

// A State is the progress of a consumer.
type State struct {
	Position    uint64    // the sequence delivered last
	Lag         uint64    // messages that were never delivered
	InFlight    uint64    // messages that were delivered and are not acknowledged
	PausedUntil time.Time // zero if it is not paused
	// Dropped is how many messages were removed before the consumer had read them, see
	// [Dropped]; nil if that is not known.
	Dropped *uint64
}

// State returns the progress of consumer, as stored now. Errors: [*TopicNotFoundError] if
// the topic does not exist any more, [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) State(ctx context.Context, consumer Consumer) (State, error) {
	cursor, err := c.cursors.load(ctx, consumer.ID, consumer.Start)
	if err != nil {
		return State{}, err
	}
	state := State{Position: cursor.Position, InFlight: uint64(len(cursor.Leases))}
	if consumer.Key == "" {
		after, dropped, err := c.lookAhead(ctx, consumer, cursor)
		if err != nil {
			return State{}, err
		}
		state.Lag, state.Dropped = after.messages, &dropped.Messages
	} else if state.Lag, err = c.topics.Pending(ctx, consumer.Topic, cursor.Position+1, consumer.Key); err != nil {
		return State{}, err
	}

	if cursor.paused(time.Now()) {
		state.PausedUntil = cursor.PausedUntil
	}
	return state, nil
}

// Remove deletes consumer for good. Calls for it that are waiting fail with
// [*ConsumerNotFoundError]. Errors: [*UnavailableError].
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
