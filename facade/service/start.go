package service

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// A Place is where to start in a topic: at the first message there is unless
// one of the fields says otherwise.
type Start struct {
	New      bool      // behind the last message
	Sequence uint64    // at that sequence, or the first behind it
	Time     time.Time // at the first message of that time or later
}

// ParsePlace reads a place: "first", "new", a sequence, or a time.
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
		return startOf(t), nil
	}
	return Start{}, fmt.Errorf(`%.100q is no place in a topic: want first, new, a sequence, or a time such as 2026-01-31T12:00:00Z`, text)
}

// placeOf is the place of a time. The engine counts nanoseconds of Unix time, of
// which there are not enough for all times.
func startOf(t time.Time) Start {
	switch {
	case t.Before(time.Unix(0, 0)):
		return Start{}
	case t.After(time.Unix(0, math.MaxInt64)):
		return Start{New: true}
	}
	return Start{Time: t}
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (p *Start) UnmarshalJSONFrom(dec *jsontext.Decoder) (err error) {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if kind := token.Kind(); kind != '0' && kind != '"' {
		return fmt.Errorf("want first, new, a sequence, or a time, not %s", kind)
	}
	*p, err = ParseStart(token.String())
	return err
}
