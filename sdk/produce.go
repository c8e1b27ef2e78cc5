package sdk

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// NewMessage is a message to produce. All fields may be zero.
type NewMessage struct {
	Data        []byte            `json:"-"`
	Key         string            `json:"key,omitzero"`          // consumers may ask for one key only
	ContentType string            `json:"content_type,omitzero"` // of Data
	Headers     map[string]string `json:"headers,omitempty"`     // names that start with Nats- or Dq- are reserved

	// IdempotencyKey makes it safe to produce the message again: within the
	// topic's dedup window it is stored once. At most 256 bytes.
	IdempotencyKey string `json:"idempotency_key,omitzero"`

	TTL       time.Duration `json:"ttl,omitzero"`        // the message goes after that time, in whole seconds
	Delay     time.Duration `json:"delay,omitzero"`      // the message is stored after that time
	DeliverAt time.Time     `json:"deliver_at,omitzero"` // in place of Delay
}

// Text is a message with that text.
func Text(text string) NewMessage { return NewMessage{Data: []byte(text)} }

// Receipt is what became of a produced message.
type Receipt struct {
	Sequence  uint64    `json:"sequence,omitzero"`
	Time      time.Time `json:"time,omitzero"`       // when it was stored; zero for a duplicate
	Duplicate bool      `json:"duplicate,omitzero"`  // it was stored before, at that sequence
	DeliverAt time.Time `json:"deliver_at,omitzero"` // when it is going to be stored
	Code      string    `json:"code,omitzero"`       // why it was not stored, as in [Error]
	Detail    string    `json:"detail,omitzero"`
}

// Err is nil if the message is stored, or is going to be, and an [*Error] if it
// is not.
func (r Receipt) Err() error {
	if r.Code == "" {
		return nil
	}
	return &Error{Code: r.Code, Message: r.Detail}
}

// Record is a message as a topic has it.
type Record struct {
	Sequence    uint64            `json:"sequence"`
	Time        time.Time         `json:"time"` // when it was stored
	Key         string            `json:"key,omitzero"`
	ContentType string            `json:"content_type,omitzero"`
	Headers     map[string]string `json:"headers,omitempty"`
	Data        []byte            `json:"-"`
	// Token is what to acknowledge it with, and Deliveries how often it was
	// handed out, in mode lease.
	Token      string `json:"token,omitzero"`
	Deliveries int    `json:"deliveries,omitzero"`
}

// MarshalJSON writes the record as the broker does: with the field data, or
// data_base64 if the data is not valid UTF-8.
func (r Record) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireRecord{recordFields(r), payloadOf(r.Data)}, jsonOptions)
}

// payload is data in JSON.
type payload struct {
	Text   *string `json:"data,omitzero"`
	Base64 *string `json:"data_base64,omitzero"`
}

func payloadOf(data []byte) payload {
	if utf8.Valid(data) {
		return payload{Text: new(string(data))}
	}
	return payload{Base64: new(base64.StdEncoding.EncodeToString(data))}
}

func (p payload) data() ([]byte, error) {
	switch {
	case p.Base64 != nil:
		return base64.StdEncoding.DecodeString(*p.Base64)
	case p.Text != nil:
		return []byte(*p.Text), nil
	}
	return nil, nil
}

// Messages in JSON. They are types of their own, and not methods, since a batch
// is read and written twice as fast without.
type (
	recordFields Record
	wireRecord   struct {
		recordFields
		payload
	}
	wireMessage struct {
		NewMessage
		payload
	}
)

func (w *wireRecord) record() (Record, error) {
	r := Record(w.recordFields)
	var err error
	r.Data, err = w.data()
	return r, err
}

func recordsOf(wire []wireRecord) ([]Record, error) {
	records := make([]Record, len(wire))
	for i := range wire {
		var err error
		if records[i], err = wire[i].record(); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// A ProduceOption says how messages are stored.
type ProduceOption func(*production)

type production struct {
	query url.Values
	key   string
}

// Atomically stores all messages of a batch or none; at most 1,000, none of them
// delayed. Such a batch is not repeated by the client.
func Atomically() ProduceOption {
	return func(p *production) { p.query.Set("atomic", "true") }
}

// IfLastSequence stores only if that is the topic's last sequence: one message,
// or an atomic batch. If it is another, [ErrWrongLastSequence] is returned.
func IfLastSequence(sequence uint64) ProduceOption {
	return func(p *production) { p.query.Set("expected_last_sequence", strconv.FormatUint(sequence, 10)) }
}

// WithIdempotencyKey gives the message the key, if it has none. The n-th message
// of a batch, from 0, gets KEY/n.
func WithIdempotencyKey(key string) ProduceOption {
	return func(p *production) { p.key = key }
}

// Produce appends a message to the topic; it is stored when Produce returns nil.
// It is repeated when that is needed and the message has an idempotency key. It
// fails with [ErrTopicNotFound], [ErrTopicFull], [ErrMessageTooLarge],
// [ErrInvalidField] or [ErrWrongLastSequence].
func (t *Topic) Produce(ctx context.Context, message NewMessage, opts ...ProduceOption) (Receipt, error) {
	receipts, err := t.produce(ctx, []NewMessage{message}, opts)
	if len(receipts) == 0 {
		return Receipt{}, err
	}
	return receipts[0], err
}

// ProduceBatch appends messages to the topic, at most 10,000, and returns a
// receipt for each. Unless it is atomic each message stands for itself: if only
// some are stored, there are receipts and an error, that of the first which is
// not. A batch is repeated when that is needed, all messages have idempotency
// keys, and it is not atomic. It fails as [Topic.Produce] does, and with
// [ErrInvalidBatch], [ErrBatchTooLarge] or [ErrBodyTooLarge].
func (t *Topic) ProduceBatch(ctx context.Context, messages []NewMessage, opts ...ProduceOption) ([]Receipt, error) {
	return t.produce(ctx, messages, opts)
}

func (t *Topic) produce(ctx context.Context, messages []NewMessage, opts []ProduceOption) ([]Receipt, error) {
	p := production{query: make(url.Values)}
	for _, opt := range opts {
		opt(&p)
	}
	wire := make([]wireMessage, len(messages))
	for i, m := range messages {
		wire[i] = wireMessage{m, payloadOf(m.Data)}
	}
	var out struct {
		Messages []Receipt `json:"messages"`
	}
	call := t.call(http.MethodPost, "messages")
	call.query, call.body, call.answer = p.query, wire, &out
	if p.key != "" {
		call.header = map[string]string{"Idempotency-Key": p.key}
	}
	if len(wire) == 1 {
		call.body = &wire[0]
	}
	keyed := p.key != "" || !slices.ContainsFunc(messages, func(m NewMessage) bool { return m.IdempotencyKey == "" })
	call.repeatable = keyed && (len(messages) == 1 || !p.query.Has("atomic"))
	err := t.client.do(ctx, call)
	if refused, ok := errors.AsType[*Error](err); ok && len(refused.Receipts) == len(messages) {
		return refused.Receipts, err
	}
	if err == nil && len(out.Messages) != len(messages) {
		err = unknown(fmt.Errorf("%d receipts for %d messages", len(out.Messages), len(messages)))
	}
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}
