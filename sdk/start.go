package sdk

import (
	"fmt"
	"strconv"
	"time"
)

// A Place is where to start in a topic. The zero Place is what the call has as
// its default.
type Place struct{ text string }

var (
	// AtFirst is the oldest message that there is.
	AtFirst = Place{"first"}
	// AtNew is what is produced from now on.
	AtNew = Place{"new"}
)

// AtSequence is the message with that sequence, or the first behind it.
func AtSequence(sequence uint64) Place { return Place{strconv.FormatUint(sequence, 10)} }

// AtTime is the first message that was stored at t or later.
func AtTime(t time.Time) Place { return Place{t.UTC().Format(time.RFC3339Nano)} }

// ParsePlace reads what [Place.String] writes: first, new, a sequence, or a time
// as RFC 3339 has it.
func ParsePlace(text string) (Place, error) {
	if text == AtFirst.text || text == AtNew.text {
		return Place{text}, nil
	}
	if sequence, err := strconv.ParseUint(text, 10, 64); err == nil {
		return AtSequence(sequence), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return AtTime(t), nil
	}
	return Place{}, fmt.Errorf("%q is no place in a topic: want first, new, a sequence, or a time such as 2026-01-31T12:00:00Z", text)
}

func (p Place) String() string { return p.text }

// MarshalText implements [encoding.TextMarshaler].
func (p Place) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Place) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePlace(string(text))
	return err
}
