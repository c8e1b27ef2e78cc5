package sdk

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Mode says when a message counts as consumed.
type Mode string

const (
	// ModeAuto consumes a message when the broker hands it out: each message is
	// delivered at most once.
	ModeAuto Mode = "auto"
	// ModeLease consumes a message when it is acknowledged. Until then the message
	// is leased to a worker for a time, and delivered again when the lease ends:
	// each message is delivered at least once.
	ModeLease Mode = "lease"
)

// A ConsumerSpec describes a consumer to register. A zero field leaves it to the
// broker's default.
type ConsumerSpec struct {
	Name  string `json:"name,omitzero"`  // up to 128 ASCII letters, digits, '-', '_' and '.', not a number; "" for none
	Start Start  `json:"start,omitzero"` // [AtNew] by default
	Key   string `json:"key,omitzero"`   // if not "", only messages with that key
	Mode  Mode   `json:"mode,omitzero"`  // [ModeAuto] by default

	// The other fields are for mode lease only.

	// Lease is how long a message is leased; 100ms to 12h, 30s by default.
	Lease time.Duration `json:"lease,omitzero"`
	// MaxInFlight is how many messages may be leased at a time; 1 to 10,000, 1000
	// by default.
	MaxInFlight int `json:"max_in_flight,omitzero"`
	// MaxDeliveries is how often a message is delivered before it goes to the
	// dead-letter topic; no limit if 0, the default.
	MaxDeliveries int `json:"max_deliveries,omitzero"`
	// DeadLetterTopic needs MaxDeliveries, and is created with the consumer if it does
	// not exist. If it is "", messages that were delivered too often are dropped.
	DeadLetterTopic string `json:"dead_letter_topic,omitzero"`
}

// A ConsumerInfo is the settings of a consumer and its progress.
type ConsumerInfo struct {
	ID              int64         `json:"id"`
	Name            string        `json:"name,omitzero"` // "" if it has none
	Topic           string        `json:"topic"`
	Key             string        `json:"key,omitzero"`
	Mode            Mode          `json:"mode"`
	Lease           time.Duration `json:"lease,omitzero"` // this and the next three are zero in mode auto
	MaxInFlight     int           `json:"max_in_flight,omitzero"`
	MaxDeliveries   int           `json:"max_deliveries,omitzero"`
	DeadLetterTopic string        `json:"dead_letter_topic,omitzero"`
	// DeadLetterTopicMissing says that the dead-letter topic was deleted: messages
	// that were delivered too often wait until it is created again.
	DeadLetterTopicMissing bool `json:"dead_letter_topic_missing,omitzero"`

	Position    uint64    `json:"position"`              // the sequence that was handed out last
	Lag         uint64    `json:"lag"`                   // how many messages were never handed out
	InFlight    uint64    `json:"in_flight"`             // how many were handed out and not acknowledged
	Size        uint64    `json:"size"`                  // Lag and InFlight together
	PausedUntil time.Time `json:"paused_until,omitzero"` // zero if it is not paused

	// DroppedUnread is how many messages were removed before the consumer had read
	// them, by the limits of the topic or their TTL; nil if that is not known, as for
	// a consumer with a key.
	DroppedUnread *uint64 `json:"dropped_unread,omitzero"`
}

// A Subscription is a handle of a consumer, which any number of workers may
// share. It is safe for concurrent use and needs no closing.
type Subscription struct {
	topic *Topic
	label string // name or id
}

// Subscription returns the handle of the consumer with that name or id. It makes
// no call, and the consumer need not exist.
func (t *Topic) Subscription(label string) *Subscription {
	return &Subscription{topic: t, label: label}
}

// Subscribe registers a consumer and returns its handle. With a name, it returns
// an existing consumer of that name if the settings are the same; the start may
// differ. Without a name, each call registers a new consumer. Errors:
// [ErrTopicNotFound], [ErrInvalidField], [ErrOtherSettings],
// [ErrInvalidTopicName] of the dead-letter topic, [ErrQuotaExceeded].
func (t *Topic) Subscribe(ctx context.Context, spec ConsumerSpec) (*Subscription, error) {
	var info ConsumerInfo
	call := t.call(http.MethodPost, "consumers")
	call.body, call.answer, call.repeatable = spec, &info, spec.Name != ""
	if err := t.client.do(ctx, call); err != nil {
		return nil, err
	}
	return t.Subscription(strconv.FormatInt(info.ID, 10)), nil
}

// Consumers yields the consumers of the topic in the order of their ids, those of
// the classic API included. If a call fails, it yields the error and ends. Errors:
// [ErrTopicNotFound].
func (t *Topic) Consumers(ctx context.Context) iter.Seq2[ConsumerInfo, error] {
	return pages(func(query url.Values) (items []ConsumerInfo, next string, err error) {
		var out struct {
			Consumers []ConsumerInfo `json:"consumers"`
			Next      *int64         `json:"next"`
		}
		call := t.call(http.MethodGet, "consumers")
		call.query, call.answer = query, &out
		err = t.client.do(ctx, call)
		if out.Next != nil {
			next = strconv.FormatInt(*out.Next, 10)
		}
		return out.Consumers, next, err
	})
}

// Topic returns the handle of the topic.
func (s *Subscription) Topic() *Topic { return s.topic }

// Label returns the consumer's name or id, whichever the handle was made with.
// The handles of [Topic.Subscribe] have the id.
func (s *Subscription) Label() string { return s.label }

// call returns a call about the consumer or, with more parts of a path, about what
// is below it.
func (s *Subscription) call(method string, parts ...string) call {
	return s.topic.call(method, append([]string{"consumers", s.label}, parts...)...)
}

// control makes a call that changes the consumer and returns its new state. Body
// is sent as JSON; nil for none.
func (s *Subscription) control(ctx context.Context, operation string, body any) (info ConsumerInfo, err error) {
	call := s.call(http.MethodPost, operation)
	call.body, call.answer, call.repeatable = body, &info, true
	err = s.topic.client.do(ctx, call)
	return info, err
}

// Describe returns the consumer's settings and progress. Errors:
// [ErrTopicNotFound], [ErrConsumerNotFound].
func (s *Subscription) Describe(ctx context.Context) (info ConsumerInfo, err error) {
	call := s.call(http.MethodGet)
	call.answer = &info
	err = s.topic.client.do(ctx, call)
	return info, err
}

// Delete deletes the consumer. Errors: those of [Subscription.Describe].
func (s *Subscription) Delete(ctx context.Context) error {
	call := s.call(http.MethodDelete)
	call.gone = ErrConsumerNotFound
	return s.topic.client.do(ctx, call)
}

// Seek moves the consumer: it goes on from there. All its leases end. Errors:
// those of [Subscription.Describe].
func (s *Subscription) Seek(ctx context.Context, to Start) (ConsumerInfo, error) {
	body := struct {
		To Start `json:"to"`
	}{to}
	return s.control(ctx, "seek", body)
}

// Pause keeps the consumer from getting messages for a time, a year at most.
// Errors: those of [Subscription.Describe], [ErrInvalidField].
func (s *Subscription) Pause(ctx context.Context, pause time.Duration) (ConsumerInfo, error) {
	body := struct {
		For time.Duration `json:"for"`
	}{pause}
	return s.control(ctx, "pause", body)
}

// Resume ends a pause. Errors: those of [Subscription.Describe].
func (s *Subscription) Resume(ctx context.Context) (ConsumerInfo, error) {
	return s.control(ctx, "resume", nil)
}

// Fetch returns the consumer's next messages: one by default, and none if there
// are none after the wait. It is never repeated: a call whose answer is lost may
// have taken messages, which in mode lease are delivered again when their leases
// end and in mode auto are lost. Errors: those of [Subscription.Describe],
// [ErrInvalidField], [ErrOutcomeUnknown].
func (s *Subscription) Fetch(ctx context.Context, limits Limits) ([]Record, error) {
	var out struct {
		Messages []wireRecord `json:"messages"`
	}
	call := s.call(http.MethodPost, "fetch")
	call.query, call.wait, call.answer = limits.query(), limits.Wait, &out
	if err := s.topic.client.do(ctx, call); err != nil {
		return nil, err
	}
	return recordsOf(out.Messages)
}
