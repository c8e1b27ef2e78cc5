package service

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"dq/jetstream"
)

// A Start is where in a topic to begin: at the first message, unless one of the
// fields says otherwise.
type Start struct {
	New      bool      // after the last message
	Sequence uint64    // at the message with that sequence, or the first after it
	Time     time.Time // at the first message of that time or later
}

// ParseStart reads a start: "first", "new", a sequence, or a time as RFC 3339 has it.
func ParseStart(text string) (Start, error) {
	switch text {
	case "first":
		return Start{}, nil
	case "new":
		return Start{New: true}, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return Start{Sequence: n}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return startAt(t), nil
	}
	return Start{}, fmt.Errorf("want first, new, a sequence, or a time such as 2026-01-31T12:00:00Z, not %.100q", text)
}

// startAt returns the start at a time. The engine counts nanoseconds of Unix time in
// 64 bits; a time out of their range becomes the first or the next message.
func startAt(t time.Time) Start {
	switch {
	case t.Before(time.Unix(0, 0)):
		return Start{}
	case t.After(time.Unix(0, math.MaxInt64)):
		return Start{New: true}
	}
	return Start{Time: t}
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (s *Start) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if kind := token.Kind(); kind != '0' && kind != '"' {
		return errors.New("want first, new, a sequence, or a time such as 2026-01-31T12:00:00Z")
	}
	*s, err = ParseStart(token.String())
	return err
}

// FirstSequence returns the sequence of the first message of topic at or after start,
// or the sequence that this message will have if it is not stored yet.
// Errors: [*jetstream.TopicNotFoundError], [*jetstream.UnavailableError].
func (s *Service) FirstSequence(ctx context.Context, topic string, start Start) (uint64, error) {
	t, err := s.Topics.Describe(ctx, topic)
	if err != nil {
		return 0, err
	}
	before, err := s.sequenceBefore(ctx, t, start)
	return before + 1, err
}

// sequenceBefore returns the sequence before that of the first message at or after
// start.
func (s *Service) sequenceBefore(ctx context.Context, topic jetstream.Topic, start Start) (uint64, error) {
	switch {
	case start.New:
		return topic.LastSequence, nil
	case !start.Time.IsZero():
		messages, err := s.Topics.Read(ctx, topic.Name, jetstream.Range{Since: start.Time, Max: 1, MaxBytes: 1})
		if err != nil || len(messages) == 0 {
			return topic.LastSequence, err
		}
		return messages[0].Sequence - 1, nil
	case start.Sequence > 0:
		return start.Sequence - 1, nil
	}
	return 0, nil
}
