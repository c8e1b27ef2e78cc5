package transport

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bodyLimit is how many bytes a body may have in these tests.
const bodyLimit = 1000

// serve answers each request with its body, within a budget.
func serve(t *testing.T, budget *Budget) *Listener {
	t.Helper()
	l := listen(t, 9)
	cfg := ServerConfig()
	cfg.BodyLimit = bodyLimit
	cfg.ErrorHandler = func(c *fiber.Ctx, err error) error {
		var invalid *fiber.Error
		status := fiber.StatusTeapot
		if errors.As(err, &invalid) {
			status = invalid.Code
		}
		return c.Status(status).SendString(err.Error())
	}
	app := fiber.New(cfg)
	app.Use(ReadBody(budget, bodyLimit))
	app.Post("/", func(c *fiber.Ctx) error { return c.Send(c.BodyRaw()) })
	ended := make(chan error, 1)
	go func() { ended <- app.Listener(l) }()
	t.Cleanup(func() {
		assert.NoError(t, app.Shutdown())
		assert.NoError(t, <-ended)
	})
	return l
}

// answer is what a client gets.
type answer struct {
	Status int
	Body   string
	Close  bool // the broker closes the connection
}

// send sends a request as it is and returns the answer. HalfClose ends the
// client's side of the connection.
func send(t *testing.T, l *Listener, request string, halfClose bool) answer {
	t.Helper()
	client := dial(t, l)
	defer func() { _ = client.Close() }()
	_, err := io.WriteString(client, request)
	require.NoError(t, err)
	if halfClose {
		require.NoError(t, client.(interface{ CloseWrite() error }).CloseWrite())
	}
	response, err := http.ReadResponse(bufio.NewReader(client), nil)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{Status: response.StatusCode, Body: string(body), Close: response.Close}
}

// post returns a request with headers and what follows them.
func post(headers, body string) string {
	return "POST / HTTP/1.1\r\nHost: dq\r\n" + headers + "\r\n" + body
}

// withLength returns a request whose body has a Content-Length.
func withLength(body string) string {
	return post(fmt.Sprintf("Content-Length: %d\r\n", len(body)), body)
}

// chunked returns a request whose body comes in chunks.
func chunked(parts ...string) string {
	var body strings.Builder
	for _, part := range parts {
		fmt.Fprintf(&body, "%x\r\n%s\r\n", len(part), part)
	}
	return post("Transfer-Encoding: chunked\r\n", body.String()+"0\r\n\r\n")
}

func TestBody_IsReadWithAndWithoutContentLength(t *testing.T) {
	t.Parallel()
	budget := &Budget{What: "bytes of bodies", Limit: bodyLimit}
	l := serve(t, budget)
	full := strings.Repeat("x", bodyLimit)

	for request, want := range map[string]string{
		withLength("abc"): "abc", withLength(""): "", withLength(full): full,
		chunked("ab", "c"): "abc", chunked(): "", chunked(full): full,
		post("Content-Length: 1\r\nContent-Encoding: identity\r\n", "a"): "a",
	} {
		assert.Equal(t, answer{Status: http.StatusOK, Body: want}, send(t, l, request, false), "%.80q", request)
	}
	_, err := budget.Acquire(bodyLimit)
	assert.NoError(t, err, "all of the budget was released")
}

func TestBody_AboveTheLimitIsRefusedAndTheConnectionKept(t *testing.T) {
	t.Parallel()
	budget := &Budget{What: "bytes of bodies", Limit: bodyLimit}
	l := serve(t, budget)
	large := strings.Repeat("x", bodyLimit+1)
	want := answer{Status: fiber.StatusTeapot, Body: (&BodyTooLargeError{Limit: bodyLimit}).Error()}

	assert.Equal(t, want, send(t, l, withLength(large), false))
	assert.Equal(t, want, send(t, l, chunked(large), false))
	_, err := budget.Acquire(bodyLimit)
	assert.NoError(t, err, "all of the budget was released")
}

func TestBody_BeyondTheBudgetIsRefused(t *testing.T) {
	t.Parallel()
	l := serve(t, &Budget{What: "bytes of bodies", Limit: 10})
	refusal := &OverloadedError{What: "bytes of bodies", Limit: 10}
	overloaded := answer{Status: fiber.StatusTeapot, Body: refusal.Error()}

	assert.Equal(t, answer{Status: http.StatusOK, Body: "1234567890"}, send(t, l, withLength("1234567890"), false))
	assert.Equal(t, overloaded, send(t, l, withLength("12345678901"), false))
	assert.Equal(t, overloaded, send(t, l, chunked("a"), false), "it may be as long as any")
}

func TestBody_ThatBreaksTheRulesIsRefusedAndTheConnectionClosed(t *testing.T) {
	t.Parallel()
	l := serve(t, &Budget{What: "bytes of bodies", Limit: bodyLimit})

	for request, want := range map[string]string{
		strings.TrimSuffix(withLength("abc"), "c"):       "unexpected EOF", // the HTTP server notices
		strings.TrimSuffix(chunked("abc"), "0\r\n\r\n"):  "the body could not be read: unexpected EOF",
		post("Transfer-Encoding: chunked\r\n", "zz\r\n"): "the body could not be read: ",
	} {
		got := send(t, l, request, true)

		assert.Contains(t, got.Body, want, request)
		assert.Equal(t, answer{Status: http.StatusBadRequest, Body: got.Body, Close: true}, got, request)
	}
}

func TestBody_WithAContentEncodingIsRefused(t *testing.T) {
	t.Parallel()
	l := serve(t, &Budget{What: "bytes of bodies", Limit: bodyLimit})

	got := send(t, l, post("Content-Length: 1\r\nContent-Encoding: gzip\r\n", "x"), false)

	want := `the body has the Content-Encoding "gzip": send it as it is, without one`
	assert.Equal(t, answer{Status: fiber.StatusTeapot, Body: want}, got)
}
