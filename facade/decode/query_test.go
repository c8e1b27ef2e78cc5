package decode

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// request returns the context of a request with that query.
func request(t *testing.T, query string) *fiber.Ctx {
	t.Helper()
	app := fiber.New()
	c := app.AcquireCtx(new(fasthttp.RequestCtx))
	t.Cleanup(func() { app.ReleaseCtx(c) })
	c.Request().SetRequestURI("/?" + query)
	return c
}

// textOf returns a short text unless it is "bad".
func textOf(text string) (string, error) {
	if text == "bad" {
		return "", errors.New("want another")
	}
	return strings.ToUpper(text), nil
}

func TestQuery_ReadsParametersWithinTheirBounds(t *testing.T) {
	t.Parallel()
	q := NewQuery(request(t, "text=%C3%BC+a&low=1&high=10&zero=0&sequence=5&yes=1&no=false&wait=1m30s&parsed=a"))

	assert.Equal(t, "ü a", q.Text("text"))
	assert.Equal(t, 1, q.Number("low", 1, 10, 5))
	assert.Equal(t, 10, q.Number("high", 1, 10, 5))
	assert.Equal(t, new(uint64), q.Sequence("zero", 0))
	assert.Equal(t, new(uint64(5)), q.Sequence("sequence", 5))
	assert.True(t, q.Flag("yes"))
	assert.False(t, q.Flag("no"))
	assert.Equal(t, 90*time.Second, q.Duration("wait", 90*time.Second))
	assert.Equal(t, "A", Parsed(q, "parsed", "none", textOf))
	assert.NoError(t, q.Err())
}

func TestQuery_MissingParametersHaveDefaults(t *testing.T) {
	t.Parallel()
	q := NewQuery(request(t, ""))

	assert.Empty(t, q.Text("a"))
	assert.Equal(t, 5, q.Number("a", 1, 10, 5))
	assert.Nil(t, q.Sequence("a", 1))
	assert.False(t, q.Flag("a"))
	assert.Zero(t, q.Duration("a", time.Minute))
	assert.Equal(t, "none", Parsed(q, "a", "none", textOf))
	assert.NoError(t, q.Err())
}

func TestQuery_RefusesWhatIsOutOfBounds(t *testing.T) {
	t.Parallel()
	number := func(q *Query) { q.Number("a", 1, 10, 5) }
	sequence := func(q *Query) { q.Sequence("a", 1) }
	flag := func(q *Query) { q.Flag("a") }
	duration := func(q *Query) { q.Duration("a", time.Minute) }
	for _, c := range []struct {
		query, want string
		read        func(*Query)
	}{
		{query: "a=0", want: `want an integer from 1 to 10, not "0"`, read: number},
		{query: "a=11", want: `want an integer from 1 to 10, not "11"`, read: number},
		{query: "a=", want: `want an integer from 1 to 10, not ""`, read: number},
		{query: "a=9999999999999999999", want: `want an integer from 1 to 10, not "9999999999999999999"`, read: number},
		{query: "a=0", want: `want an integer of at least 1, not "0"`, read: sequence},
		{query: "a=-1", want: `want an integer of at least 1, not "-1"`, read: sequence},
		{
			query: "a=18446744073709551616",
			want:  `want an integer of at least 1, not "18446744073709551616"`, read: sequence,
		},
		{query: "a=yes", want: `want true or false, not "yes"`, read: flag},
		{query: "a=-1s", want: `want a duration from 0s to 1m0s, such as 10s, not "-1s"`, read: duration},
		{query: "a=61s", want: `want a duration from 0s to 1m0s, such as 10s, not "61s"`, read: duration},
		{query: "a=10", want: `want a duration from 0s to 1m0s, such as 10s, not "10"`, read: duration},
		{query: "a=bad", want: "want another", read: func(q *Query) { Parsed(q, "a", "", textOf) }},
		{query: "a=%FF", want: "not valid UTF-8", read: func(q *Query) { q.Text("a") }},
	} {
		q := NewQuery(request(t, c.query))

		c.read(q)

		assert.Equal(t, &FieldError{Field: "a", Problem: c.want}, q.Err(), c.query)
	}
}

func TestQuery_TellsTheFirstError(t *testing.T) {
	t.Parallel()
	q := NewQuery(request(t, "a=x&b=y"))
	first := errors.New("first")

	q.Fail(first)
	q.Number("a", 1, 10, 5)
	q.Fail(errors.New("last"))

	assert.Equal(t, first, q.Err())
}

func TestPathParameter_IsDecodedAndOutlivesTheRequest(t *testing.T) {
	t.Parallel()
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	app := fiber.New()
	app.Get("/:topic", func(c *fiber.Ctx) error {
		text, err := PathParameter(c, "topic")
		answers <- answer{text, err}
		return nil
	})
	for path, want := range map[string]answer{
		"/a%20%C3%BC%2Fb": {text: "a ü/b"},
		"/plain":          {text: "plain"},
		"/%FF":            {err: &FieldError{Field: "topic", Problem: "the path is not percent-encoded UTF-8"}},
		"/%zz":            {err: &FieldError{Field: "topic", Problem: "the path is not percent-encoded UTF-8"}},
	} {
		var c fasthttp.RequestCtx
		c.Request.SetRequestURI("/")
		c.Request.Header.SetRequestURI(path)

		app.Handler()(&c)

		assert.Equal(t, want, <-answers, path)
		require.Equal(t, fiber.StatusOK, c.Response.StatusCode())
	}
}
