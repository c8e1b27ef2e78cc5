package sdk

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A Mode says when a message is consumed.
type Mode string

const (
	// ModeAuto is when it is answered: a message comes at most once.
	ModeAuto Mode = "auto"
	// ModeLease is when it is acknowledged. Until then it is handed out for a
	// time, and again: a message comes at least once.
	ModeLease Mode = "lease"
)

// ConsumerSpec is a consumer to register. What is zero is as the broker has it
// by default.
type ConsumerSpec struct {
	Name  string `json:"name,omitzero"`  // at most 128 of letters, digits, '-', '_' and '.'
	Start Start  `json:"start,omitzero"` // [AtNew] by default
	Key   string `json:"key,omitzero"`   // if not "", only messages with that key
	Mode  Mode   `json:"mode,omitzero"`  // [ModeAuto] by default

	// For mode lease only:
	Lease           time.Duration `json:"lease,omitzero"`          // 100ms to 12h, 30s by default
	MaxInFlight     int           `json:"max_in_flight,omitzero"`  // handed out and not acknowledged; 1000 by default
	MaxDeliveries   int           `json:"max_deliveries,omitzero"` // then it goes to the dead-letter topic; 0 is never
	DeadLetterTopic string        `json:"dead_letter_topic,omitzero"`
}

// ConsumerInfo is the settings of a consumer, and how far it is.
type ConsumerInfo struct {
	ID              int64         `json:"id"`
	Name            string        `json:"name,omitzero"`
	Topic           string        `json:"topic"`
	Key             string        `json:"key,omitzero"`
	Mode            Mode          `json:"mode"`
	Lease           time.Duration `json:"lease,omitzero"`
	MaxInFlight     int           `json:"max_in_flight,omitzero"`
	MaxDeliveries   int           `json:"max_deliveries,omitzero"`
	DeadLetterTopic string        `json:"dead_letter_topic,omitzero"`
	Position        uint64        `json:"position"`  // the sequence that was handed out last
	Lag             uint64        `json:"lag"`       // messages that were never handed out
	InFlight        uint64        `json:"in_flight"` // messages that were handed out and not acknowledged
	Size            uint64        `json:"size"`      // both together
	PausedUntil     time.Time     `json:"paused_until,omitzero"`
}

// A Subscription is a handle of a consumer of the modern API, which any number
// of workers may share. It needs no closing.
type Subscription struct {
	topic *Topic
	label string // name or id
}

// Subscription returns the handle of the consumer with that name or id. It makes
// no call.
func (t *Topic) Subscription(label string) *Subscription {
	return &Subscription{topic: t, label: label}
}

// Subscribe registers a consumer. With a name, one that is there is taken if it
// has the same settings, its start aside; without, each call makes a new one. It
// fails with [ErrTopicNotFound], [ErrInvalidField] or [ErrOtherSettings].
func (t *Topic) Subscribe(ctx context.Context, spec ConsumerSpec) (*Subscription, error) {
	var info ConsumerInfo
	call := t.call(http.MethodPost, "consumers")
	call.body, call.answer, call.repeatable = spec, &info, spec.Name != ""
	if err := t.client.do(ctx, call); err != nil {
		return nil, err
	}
	return t.Subscription(strconv.FormatInt(info.ID, 10)), nil
}

// Consumers yields the consumers of the topic, by id, those of the classic API
// included. If a call fails, it yields the error and ends.
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

// Topic is the topic's handle.
func (s *Subscription) Topic() *Topic { return s.topic }

// Label is the consumer's name or id, as the handle was made with.
func (s *Subscription) Label() string { return s.label }

func (s *Subscription) call(method string, parts ...string) call {
	return s.topic.call(method, append([]string{"consumers", s.label}, parts...)...)
}

// control makes a call that changes the consumer and answers with it.
func (s *Subscription) control(ctx context.Context, operation string, body any) (info ConsumerInfo, err error) {
	call := s.call(http.MethodPost, operation)
	call.body, call.answer, call.repeatable = body, &info, true
	err = s.topic.client.do(ctx, call)
	return info, err
}

// Describe returns the consumer's settings, and how far it is. It fails with
// [ErrTopicNotFound] or [ErrConsumerNotFound].
func (s *Subscription) Describe(ctx context.Context) (info ConsumerInfo, err error) {
	call := s.call(http.MethodGet)
	call.answer = &info
	err = s.topic.client.do(ctx, call)
	return info, err
}

// Delete deletes the consumer. It fails as [Subscription.Describe] does.
func (s *Subscription) Delete(ctx context.Context) error {
	call := s.call(http.MethodDelete)
	call.gone = ErrConsumerNotFound
	return s.topic.client.do(ctx, call)
}

// Seek moves the consumer. All its leases end. It fails as
// [Subscription.Describe] does.
func (s *Subscription) Seek(ctx context.Context, to Start) (ConsumerInfo, error) {
	return s.control(ctx, "seek", map[string]any{"to": to})
}

// Pause keeps the consumer from getting messages for a time. It fails as
// [Subscription.Describe] does.
func (s *Subscription) Pause(ctx context.Context, pause time.Duration) (ConsumerInfo, error) {
	return s.control(ctx, "pause", map[string]any{"for": pause})
}

// Resume ends a pause. It fails as [Subscription.Describe] does.
func (s *Subscription) Resume(ctx context.Context) (ConsumerInfo, error) {
	return s.control(ctx, "resume", nil)
}

// Fetch returns the consumer's next messages, by default one, and none if there
// are none. It is not repeated: a call that was not answered may have taken
// messages, which in mode lease come back after the lease. It fails as
// [Subscription.Describe] does.
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

// settle makes a call about leases.
func (s *Subscription) settle(ctx context.Context, operation string, body any) error {
	call := s.call(http.MethodPost, operation)
	call.body, call.repeatable = body, true
	return s.topic.client.do(ctx, call)
}

type settlement struct {
	Tokens []string      `json:"tokens,omitempty"`
	UpTo   string        `json:"up_to,omitzero"`
	Delay  time.Duration `json:"delay,omitzero"`
	Lease  time.Duration `json:"lease,omitzero"`
}

// Ack acknowledges messages: they are not handed out again. It fails with
// [ErrLeaseLost] if another may have some of them by now; one that had to be
// repeated can fail so although the messages are acknowledged. It also fails
// with [ErrWrongMode], and as [Subscription.Describe] does.
func (s *Subscription) Ack(ctx context.Context, tokens ...string) error {
	return s.settle(ctx, "ack", settlement{Tokens: tokens})
}

// AckUpTo acknowledges a message and all that were handed out before it,
// whoever got them. It fails as [Subscription.Ack] does.
func (s *Subscription) AckUpTo(ctx context.Context, token string) error {
	return s.settle(ctx, "ack", settlement{UpTo: token})
}

// Nack gives messages back, to be handed out again after a delay, which may be
// 0. It fails as [Subscription.Ack] does.
func (s *Subscription) Nack(ctx context.Context, delay time.Duration, tokens ...string) error {
	return s.settle(ctx, "nack", settlement{Tokens: tokens, Delay: delay})
}

// Extend makes the leases of messages end that long from now, or the consumer's
// own lease if that is 0. It fails as [Subscription.Ack] does.
func (s *Subscription) Extend(ctx context.Context, lease time.Duration, tokens ...string) error {
	return s.settle(ctx, "extend", settlement{Tokens: tokens, Lease: lease})
}

// Limits bound what one call brings. Zero is what the broker has by default.
type Limits struct {
	Messages int           // at most 10,000
	Bytes    int           // of data, at most 32 MiB; the message that reaches them is the last
	Wait     time.Duration // for a message, if there is none; at most a minute
}

func (l Limits) query() url.Values {
	query := make(url.Values)
	if l.Messages != 0 {
		query.Set("limit", strconv.Itoa(l.Messages))
	}
	if l.Bytes != 0 {
		query.Set("max_bytes", strconv.Itoa(l.Bytes))
	}
	if l.Wait != 0 {
		query.Set("wait", l.Wait.String())
	}
	return query
}
