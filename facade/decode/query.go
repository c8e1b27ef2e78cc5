package decode

import (
	"fmt"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
)

// pathText is a parameter of the path, decoded.
func PathText(c *fiber.Ctx, name string) (string, error) {
	text, err := url.PathUnescape(c.Params(name)) // a copy, if only by the next line
	if err != nil || !utf8.ValidString(text) {
		return "", &FieldError{name, "the path is not percent-encoded UTF-8"}
	}
	return string([]byte(text)), nil
}

// query reads the parameters of a query. The first that is wrong is in err.
type Query struct {
	C   *fiber.Ctx
	Err error
}

// value is the text of a parameter; ok says whether it is there.
func (q *Query) value(name string) (text string, ok bool) {
	value, err := Parameter(q.C, name)
	if err != nil {
		q.Fail(err)
	}
	if value == nil {
		return "", false
	}
	return *value, true
}

func (q *Query) Fail(err error) {
	if q.Err == nil {
		q.Err = err
	}
}

func (q *Query) Text(name string) string {
	text, _ := q.value(name)
	return text
}

// number is an integer from low to high, or otherwise if it is not there.
func (q *Query) Number(name string, low, high, otherwise int) int {
	text, ok := q.value(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		q.Fail(&FieldError{name, fmt.Sprintf("want an integer from %d to %d, not %.100q", low, high, text)})
	}
	return n
}

// sequence is a sequence of at least low; nil if it is not there.
func (q *Query) Sequence(name string, low uint64) *uint64 {
	text, ok := q.value(name)
	if !ok {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < low {
		q.Fail(&FieldError{name, fmt.Sprintf("want an integer of at least %d, not %.100q", low, text)})
	}
	return &n
}

// flag is true or false, or false if it is not there.
func (q *Query) Flag(name string) bool {
	text, ok := q.value(name)
	if !ok {
		return false
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		q.Fail(&FieldError{name, fmt.Sprintf("want true or false, not %.100q", text)})
	}
	return value
}

// duration is a duration from 0 to longest; 0 if it is not there.
func (q *Query) Duration(name string, longest time.Duration) time.Duration {
	text, ok := q.value(name)
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > longest {
		q.Fail(&FieldError{name, fmt.Sprintf("want a duration from 0s to %s, such as 10s, not %.100q", longest, text)})
	}
	return d
}

// parsed is what parse reads from a parameter, or otherwise if it is not there.
func Parsed[T any](q *Query, name string, otherwise T, parse func(string) (T, error)) T {
	text, ok := q.value(name)
	if !ok {
		return otherwise
	}
	value, err := parse(text)
	if err != nil {
		q.Fail(&FieldError{name, err.Error()})
	}
	return value
}
