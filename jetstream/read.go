package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A Range says which messages to read.
type Range struct {
	From     uint64    // the first sequence; 0 is the first there is
	Since    time.Time // if set: the first message of that time or later, in place of From
	Key      string    // only messages with that key; "" is all
	Max      int       // messages, at least 1
	MaxBytes int       // the read stops behind the message that reaches them; at least 1
}

// getRequest is the body of the engine's direct get (ADR-31).
type getRequest struct {
	Seq       uint64     `json:"seq,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	Batch     int        `json:"batch"`
	MaxBytes  int        `json:"max_bytes"`
}

const (
	statusHeader  = "Status"
	pendingHeader = "Nats-Num-Pending"

	statusEndOfBatch   = "204"
	statusNotFound     = "404"
	statusNoResponders = "503"
)

// Read returns the messages of topic in r, in order, and how many more there
// are behind the last one. No message is no error.
// Errors: [*NotFoundError], [*UnavailableError].
//
// It is the engine's batched direct get. The existing library for it takes a
// lost answer for the end of the batch, and we must not.
func (t *Topics) Read(ctx context.Context, topic string, r Range) (msgs []Message, pending uint64, err error) {
	request := getRequest{Seq: max(r.From, 1), Batch: r.Max, MaxBytes: r.MaxBytes}
	if !r.Since.IsZero() {
		request.Seq, request.StartTime = 0, &r.Since
	}
	if r.Key != "" {
		request.NextFor = KeySubject(topic, r.Key)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return nil, 0, unavailable("read", err)
	}
	replies, err := t.reader.ask(ctx, "$JS.API.DIRECT.GET."+StreamName(topic), body)
	if err != nil {
		return nil, 0, unavailable("read", err)
	}
	end := replies[len(replies)-1]
	switch status := end.Header.Get(statusHeader); status {
	case statusEndOfBatch:
		pending, err = strconv.ParseUint(end.Header.Get(pendingHeader), 10, 64)
		if err != nil {
			return nil, 0, unavailable("read", fmt.Errorf("an end of batch without the number of pending messages: %w", err))
		}
	case statusNotFound:
		return nil, 0, nil
	case statusNoResponders:
		return nil, 0, &NotFoundError{Topic: topic}
	default:
		return nil, 0, unavailable("read", fmt.Errorf("status %s: %s", status, end.Header.Get("Description")))
	}
	msgs = make([]Message, len(replies)-1)
	for i := range msgs {
		if msgs[i], err = decode(topic, replies[i]); err != nil {
			return nil, 0, unavailable("read", fmt.Errorf("a message without its place: %w", err))
		}
	}
	return msgs, pending, nil
}

// Get returns the message of topic at sequence. Errors: [*NotFoundError],
// [*NoMessageError], [*UnavailableError].
func (t *Topics) Get(ctx context.Context, topic string, sequence uint64) (Message, error) {
	msgs, _, err := t.Read(ctx, topic, Range{From: sequence, Max: 1, MaxBytes: 1})
	if err != nil {
		return Message{}, err
	}
	if len(msgs) == 0 || msgs[0].Sequence != sequence {
		return Message{}, &NoMessageError{Topic: topic, Sequence: sequence}
	}
	return msgs[0], nil
}

// Pending is how many messages of topic, with that key if it is not "", there
// are from sequence from on. Errors: as for [Topics.Read].
func (t *Topics) Pending(ctx context.Context, topic string, from uint64, key string) (uint64, error) {
	msgs, behind, err := t.Read(ctx, topic, Range{From: from, Key: key, Max: 1, MaxBytes: 1})
	return uint64(len(msgs)) + behind, err
}
