package sdk

import (
	"fmt"
	"strconv"
	"time"
)

// A Start says where in a topic to start. The zero Start leaves it to the call's
// default.
type Start struct{ text string }

var (
	// AtFirst starts with the oldest message that the topic still holds.
	AtFirst = Start{"first"}
	// AtNew starts with the next message that is produced.
	AtNew = Start{"new"}
)

// AtSequence starts with the message of that sequence or, if it no longer
// exists, with the first after it. Sequences count from 1 in each topic.
func AtSequence(sequence uint64) Start { return Start{strconv.FormatUint(sequence, 10)} }

// AtTime starts with the first message that was stored at t or later.
func AtTime(t time.Time) Start { return Start{t.UTC().Format(time.RFC3339Nano)} }

// ParseStart reads what [Start.String] writes: first, new, a sequence, or a time
// in the form of RFC 3339.
func ParseStart(text string) (Start, error) {
	if text == AtFirst.text || text == AtNew.text {
		return Start{text}, nil
	}
	if sequence, err := strconv.ParseUint(text, 10, 64); err == nil {
		return AtSequence(sequence), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return AtTime(t), nil
	}
	const want = "want first, new, a sequence such as 42, or a time such as 2026-01-31T12:00:00Z"
	return Start{}, fmt.Errorf("invalid start %q: %s", text, want)
}

// String returns the text that [ParseStart] reads; "" for the zero Start.
func (s Start) String() string { return s.text }

// MarshalText implements [encoding.TextMarshaler].
func (s Start) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It reads what
// [ParseStart] reads.
func (s *Start) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStart(string(text))
	return err
}
