package facade

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"
)

// pathText is a parameter of the path, decoded.
func pathText(c *fiber.Ctx, name string) (string, error) {
	text, err := url.PathUnescape(c.Params(name)) // a copy, if only by the next line
	if err != nil || !utf8.ValidString(text) {
		return "", &FieldError{name, "the path is not percent-encoded UTF-8"}
	}
	return string([]byte(text)), nil
}

// query reads the parameters of a query. The first that is wrong is in err.
type query struct {
	c   *fiber.Ctx
	err error
}

// value is the text of a parameter; ok says whether it is there.
func (q *query) value(name string) (text string, ok bool) {
	value, err := queryParameter(q.c, name)
	if err != nil {
		q.fail(err)
	}
	if value == nil {
		return "", false
	}
	return *value, true
}

func (q *query) fail(err error) {
	if q.err == nil {
		q.err = err
	}
}

func (q *query) text(name string) string {
	text, _ := q.value(name)
	return text
}

// number is an integer from low to high, or otherwise if it is not there.
func (q *query) number(name string, low, high, otherwise int) int {
	text, ok := q.value(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		q.fail(&FieldError{name, fmt.Sprintf("want an integer from %d to %d, not %.100q", low, high, text)})
	}
	return n
}

// sequence is a sequence of at least low; nil if it is not there.
func (q *query) sequence(name string, low uint64) *uint64 {
	text, ok := q.value(name)
	if !ok {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < low {
		q.fail(&FieldError{name, fmt.Sprintf("want an integer of at least %d, not %.100q", low, text)})
	}
	return &n
}

// flag is true or false, or false if it is not there.
func (q *query) flag(name string) bool {
	text, ok := q.value(name)
	if !ok {
		return false
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		q.fail(&FieldError{name, fmt.Sprintf("want true or false, not %.100q", text)})
	}
	return value
}

// duration is a duration from 0 to longest; 0 if it is not there.
func (q *query) duration(name string, longest time.Duration) time.Duration {
	text, ok := q.value(name)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > longest {
		q.fail(&FieldError{name, fmt.Sprintf("want a duration from 0s to %s, such as 10s, not %.100q", longest, text)})
	}
	return d
}

// parsed is what parse reads from a parameter, or otherwise if it is not there.
func parsed[T any](q *query, name string, otherwise T, parse func(string) (T, error)) T {
	text, ok := q.value(name)
	if !ok {
		return otherwise
	}
	value, err := parse(text)
	if err != nil {
		q.fail(&FieldError{name, err.Error()})
	}
	return value
}

// A Place is where to start in a topic: at the first message there is unless
// one of the fields says otherwise.
type Place struct {
	New      bool      // behind the last message
	Sequence uint64    // at that sequence, or the first behind it
	Time     time.Time // at the first message of that time or later
}

// ParsePlace reads a place: "first", "new", a sequence, or a time.
func ParsePlace(text string) (Place, error) {
	switch text {
	case "first":
		return Place{}, nil
	case "new":
		return Place{New: true}, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return Place{Sequence: n}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return placeOf(t), nil
	}
	return Place{}, fmt.Errorf(`%.100q is no place in a topic: want first, new, a sequence, or a time such as 2026-01-31T12:00:00Z`, text)
}

// placeOf is the place of a time. The engine counts nanoseconds of Unix time, of
// which there are not enough for all times.
func placeOf(t time.Time) Place {
	switch {
	case t.Before(time.Unix(0, 0)):
		return Place{}
	case t.After(time.Unix(0, math.MaxInt64)):
		return Place{New: true}
	}
	return Place{Time: t}
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (p *Place) UnmarshalJSONFrom(dec *jsontext.Decoder) (err error) {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if kind := token.Kind(); kind != '0' && kind != '"' {
		return fmt.Errorf("want first, new, a sequence, or a time, not %s", kind)
	}
	*p, err = ParsePlace(token.String())
	return err
}
