package decode

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
)

// QueryParameter returns a parameter of the query, or nil if the query lacks
// it. It may be used after the request has ended. Errors: [*FieldError].
func QueryParameter(c *fiber.Ctx, name string) (*string, error) {
	args := c.Context().QueryArgs()
	if !args.Has(name) {
		return nil, nil
	}
	value := string(args.Peek(name))
	if !utf8.ValidString(value) {
		return nil, &FieldError{Field: name, Problem: "not valid UTF-8"}
	}
	return &value, nil
}

// A Query reads the parameters of a query, each with the type and the bounds that
// it must have. It remembers the first wrong one: call Err after reading the last.
type Query struct {
	c   *fiber.Ctx
	err error
}

// NewQuery returns a Query that reads the query of c.
func NewQuery(c *fiber.Ctx) *Query { return &Query{c: c} }

// Err returns the error of the first wrong parameter, or nil.
// Errors: [*FieldError], and those that were passed to Fail.
func (q *Query) Err() error { return q.err }

// Fail makes Err return err, unless an earlier parameter was wrong.
func (q *Query) Fail(err error) {
	if q.err == nil {
		q.err = err
	}
}

// invalid records that a parameter has a wrong value.
func (q *Query) invalid(name, want, value string) {
	q.Fail(&FieldError{Field: name, Problem: fmt.Sprintf("want %s, not %.100q", want, value)})
}

// value returns the text of a parameter; ok is false if the query lacks it.
func (q *Query) value(name string) (text string, ok bool) {
	value, err := QueryParameter(q.c, name)
	if err != nil {
		q.Fail(err)
	}
	if value == nil {
		return "", false
	}
	return *value, true
}

// Text returns a parameter as text, or "" if the query lacks it.
func (q *Query) Text(name string) string {
	text, _ := q.value(name)
	return text
}

// Number returns a parameter that is an integer from low to high, or byDefault if the
// query lacks it.
func (q *Query) Number(name string, low, high, byDefault int) int {
	text, ok := q.value(name)
	if !ok {
		return byDefault
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		q.invalid(name, fmt.Sprintf("an integer from %d to %d", low, high), text)
	}
	return n
}

// Sequence returns a parameter that is a sequence of at least low, or nil if the query
// lacks it.
func (q *Query) Sequence(name string, low uint64) *uint64 {
	text, ok := q.value(name)
	if !ok {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < low {
		q.invalid(name, fmt.Sprintf("an integer of at least %d", low), text)
	}
	return &n
}

// Flag returns a parameter that is true or false, or false if the query lacks it.
func (q *Query) Flag(name string) bool {
	text, ok := q.value(name)
	if !ok {
		return false
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		q.invalid(name, "true or false", text)
	}
	return value
}

// Duration returns a parameter that is a duration from 0 to longest, or 0 if the query
// lacks it.
func (q *Query) Duration(name string, longest time.Duration) time.Duration {
	text, ok := q.value(name)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > longest {
		q.invalid(name, fmt.Sprintf("a duration from 0s to %s, such as 10s", longest), text)
	}
	return d
}

// Parsed returns a parameter as parse reads it, or byDefault if the query lacks it.
func Parsed[T any](q *Query, name string, byDefault T, parse func(string) (T, error)) T {
	text, ok := q.value(name)
	if !ok {
		return byDefault
	}
	value, err := parse(text)
	if err != nil {
		q.Fail(&FieldError{Field: name, Problem: err.Error()})
	}
	return value
}
