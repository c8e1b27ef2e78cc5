package sdk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// A Receipt says what became of a produced message.
type Receipt struct {
	Sequence  uint64    `json:"sequence,omitzero"`   // 0 if it is not stored, or not yet
	Time      time.Time `json:"time,omitzero"`       // when it was stored; zero for a duplicate
	Duplicate bool      `json:"duplicate,omitzero"`  // it was stored before, at that sequence, or waits for its time
	DeliverAt time.Time `json:"deliver_at,omitzero"` // when it is going to be stored
	Code      string    `json:"code,omitzero"`       // why it was not stored, as in [Error]
	Detail    string    `json:"detail,omitzero"`     // the same, for people
}

// Err returns nil if the message is stored or is going to be, and otherwise an
// [*Error] with the receipt's code.
func (r Receipt) Err() error {
	if r.Code == "" {
		return nil
	}
	return &Error{Code: r.Code, Message: r.Detail}
}

// A ProduceOption says how [Topic.Produce] and [Topic.ProduceBatch] store
// messages.
type ProduceOption func(*production)

// production is one call of Produce or ProduceBatch.
type production struct {
	messages []NewMessage
	query    url.Values
	key      string // the idempotency key of messages that have none
}

// Atomically stores all messages of a batch or none. Such a batch has at most
// 1,000 messages, none of them delayed. The client does not repeat it.
func Atomically() ProduceOption {
	return func(p *production) { p.query.Set("atomic", "true") }
}

// IfLastSequence stores one message, or an atomic batch, only if the topic's last
// sequence is this one; 0 is that of a topic that never had a message. Otherwise
// the call fails with [ErrWrongLastSequence].
func IfLastSequence(sequence uint64) ProduceOption {
	return func(p *production) { p.query.Set("expected_last_sequence", strconv.FormatUint(sequence, 10)) }
}

// WithIdempotencyKey gives the key to a message that has none. In a batch of
// several the n-th message, counted from 0, gets KEY/n.
func WithIdempotencyKey(key string) ProduceOption {
	return func(p *production) { p.key = key }
}

// Produce appends a message to the topic; it is stored when Produce returns nil.
// The call is repeated after a failure only if the message has an idempotency
// key. Errors: [ErrTopicNotFound], [ErrTopicFull], [ErrMessageTooLarge],
// [ErrInvalidField], [ErrWrongLastSequence], [ErrStorageFull],
// [ErrOutcomeUnknown].
func (t *Topic) Produce(ctx context.Context, message NewMessage, opts ...ProduceOption) (Receipt, error) {
	receipts, err := t.ProduceBatch(ctx, []NewMessage{message}, opts...)
	if len(receipts) == 0 {
		return Receipt{}, err
	}
	return receipts[0], err
}

// ProduceBatch appends messages to the topic, 1 to 10,000, and returns a receipt
// for each. Unless it is atomic each message stands for itself: if only some are
// stored, ProduceBatch returns receipts and also an error, that of the first
// message that is not stored. The call is repeated after a failure only if all
// messages have idempotency keys and the batch is not atomic. Errors: those of
// [Topic.Produce], [ErrInvalidBatch], [ErrDuplicateBatch], [ErrBatchTooLarge],
// [ErrBodyTooLarge].
func (t *Topic) ProduceBatch(ctx context.Context, messages []NewMessage, opts ...ProduceOption) ([]Receipt, error) {
	p := production{messages: messages, query: make(url.Values)}
	for _, opt := range opts {
		opt(&p)
	}

	var out struct {
		Messages []Receipt `json:"messages"`
	}
	call := t.call(http.MethodPost, "messages")
	call.query, call.body, call.answer = p.query, p.body(), &out
	call.repeatable = p.repeatable()
	if p.key != "" {
		call.header = map[string]string{"Idempotency-Key": p.key}
	}

	err := t.client.do(ctx, call)
	if refused, ok := errors.AsType[*Error](err); ok && len(refused.Receipts) == len(messages) {
		return refused.Receipts, err
	}
	if err != nil {
		return nil, err
	}
	if len(out.Messages) != len(messages) {
		return nil, unknown(fmt.Errorf("%d receipts for %d messages", len(out.Messages), len(messages)))
	}
	return out.Messages, nil
}

// body returns what to send as JSON: several messages as an array, and one as an
// object, which gets the idempotency key as it is and not as KEY/0.
func (p *production) body() any {
	wire := make([]wireMessage, len(p.messages))
	for i, m := range p.messages {
		wire[i] = wireMessage{m, payloadOf(m.Data)}
	}
	if len(wire) == 1 {
		return &wire[0]
	}
	return wire
}

// repeatable reports whether producing twice stores once: every message needs an
// idempotency key, and the broker refuses an atomic batch with keys that were
// used.
func (p *production) repeatable() bool {
	if len(p.messages) != 1 && p.query.Has("atomic") {
		return false
	}
	keyless := func(m NewMessage) bool { return m.IdempotencyKey == "" }
	return p.key != "" || !slices.ContainsFunc(p.messages, keyless)
}
