package transport

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bodyLimit is how many bytes a body may have in these tests.
const bodyLimit = 1000

// serve answers each request with its body, within a budget.
func serve(t *testing.T, budget *BodyBudget) *Listener {
	t.Helper()
	return serveTo(t, budget, bodyLimit, func(*fiber.Ctx) Payer { return nil })
}

// serveTo answers each request of at most limit bytes, for which payerOf pays.
func serveTo(t *testing.T, budget *BodyBudget, limit int, payerOf func(*fiber.Ctx) Payer) *Listener {
	t.Helper()
	l := listen(t, 9)
	cfg := ServerConfig()
	cfg.BodyLimit = limit
	cfg.ErrorHandler = func(c *fiber.Ctx, err error) error {
		var invalid *fiber.Error
		status := fiber.StatusTeapot
		if errors.As(err, &invalid) {
			status = invalid.Code
		}
		return c.Status(status).SendString(err.Error())
	}
	app := fiber.New(cfg)
	app.Use(ReadBody(budget, limit, payerOf))
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
	budget := NewBodyBudget(0, bodyLimit)
	l := serve(t, budget)
	full := strings.Repeat("x", bodyLimit)

	for request, want := range map[string]string{
		withLength("abc"): "abc", withLength(""): "", withLength(full): full,
		chunked("ab", "c"): "abc", chunked(): "", chunked(full): full,
		post("Content-Length: 1\r\nContent-Encoding: identity\r\n", "a"): "a",
	} {
		assert.Equal(t, answer{Status: http.StatusOK, Body: want}, send(t, l, request, false), "%.80q", request)
	}
	assert.Zero(t, inUse(budget), "all of the budget was released")
}

func TestBody_AboveTheLimitIsRefusedAndTheConnectionKept(t *testing.T) {
	t.Parallel()
	budget := NewBodyBudget(0, bodyLimit)
	l := serve(t, budget)
	large := strings.Repeat("x", bodyLimit+1)
	want := answer{Status: fiber.StatusTeapot, Body: (&BodyTooLargeError{Limit: bodyLimit}).Error()}

	assert.Equal(t, want, send(t, l, withLength(large), false))
	assert.Equal(t, want, send(t, l, chunked(large), false))
	assert.Zero(t, inUse(budget), "all of the budget was released")
}

// inUse returns how many bytes of a budget are taken.
func inUse(b *BodyBudget) int64 {
	total := int64(0)
	for _, p := range []*bodyPool{&b.small, &b.large} {
		p.mu.Lock()
		total += p.used
		p.mu.Unlock()
	}
	return total
}

func TestBody_BeyondTheBudgetIsRefusedAndTheConnectionKept(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	budget := NewBodyBudget(0, limit)
	budget.wait = 0
	l := serveTo(t, budget, limit, func(*fiber.Ctx) Payer { return nil })
	full, half := strings.Repeat("x", limit), strings.Repeat("x", limit/2)
	other := client{token: "other"}
	require.NoError(t, budget.large.take(other, limit/2, 0))
	refusal := answer{
		Status: fiber.StatusTeapot,
		Body:   (&OverloadedError{What: "bytes of request bodies", Limit: limit}).Error(),
	}

	length, chunks := send(t, l, withLength(full), false), send(t, l, chunked(full), false)
	fits, small := send(t, l, withLength(half), false), send(t, l, chunked("a"), false)

	assert.Equal(t, refusal, length)
	assert.Equal(t, refusal, chunks)
	assert.Equal(t, answer{Status: http.StatusOK, Body: half}, fits)
	assert.Equal(t, answer{Status: http.StatusOK, Body: "a"}, small)
	assert.EqualValues(t, limit/2, inUse(budget), "what was refused took nothing")
}

func TestBody_SlowOneIsRefusedWhenAnotherNeedsItsMemory(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	budget := NewBodyBudget(0, limit)
	l := serveTo(t, budget, limit, func(*fiber.Ctx) Payer { return nil })
	full := strings.Repeat("x", limit)
	slow := dial(t, l)
	_, err := io.WriteString(slow, withLength(full)[:limit/2+1000])
	require.NoError(t, err)
	require.Eventually(t, func() bool { return inUse(budget) == limit }, patience, time.Millisecond)

	got := send(t, l, withLength(full), false)

	assert.Equal(t, answer{Status: http.StatusOK, Body: full}, got)
	refusal, err := http.ReadResponse(bufio.NewReader(slow), nil)
	require.NoError(t, err)
	text, err := io.ReadAll(refusal.Body)
	require.NoError(t, err)
	assert.Equal(t, (&SlowBodyError{}).Error(), string(text))
	assert.True(t, refusal.Close)
	assert.Zero(t, inUse(budget), "all of the budget was released")
}

func TestBody_LargeOnesLeaveRoomForThoseOfAMebibyte(t *testing.T) {
	t.Parallel()
	pool := &bodyPool{limit: 24 << 20, floor: 20 << 20}
	require.NoError(t, pool.take(client{token: "greedy"}, 20<<20, 20<<20))

	refused := pool.take(client{token: "large"}, 2<<20, 16<<20)
	medium := pool.take(client{token: "medium"}, 1<<20, 1<<20)

	assert.Error(t, refused)
	assert.NoError(t, medium)
}

// payer counts what it has to pay.
type payer struct{ charged atomic.Int64 }

func (*payer) Name() string   { return "payer" }
func (p *payer) Charge(n int) { p.charged.Add(int64(n)) }

func TestBody_PayerPaysForWhatArrives(t *testing.T) {
	t.Parallel()
	full, large := strings.Repeat("x", bodyLimit), strings.Repeat("x", bodyLimit+1)
	for request, want := range map[string]int{
		withLength(full): bodyLimit, chunked(full): bodyLimit, chunked("ab", "c"): 3,
		withLength(large): bodyLimit + 1, chunked(large, large): 2 * (bodyLimit + 1), // thrown away
		strings.TrimSuffix(chunked("abc"), "0\r\n\r\n"): 3,
	} {
		p := &payer{}
		l := serveTo(t, NewBodyBudget(0, bodyLimit), bodyLimit, func(*fiber.Ctx) Payer { return p })

		send(t, l, request, true)

		assert.EqualValues(t, want, p.charged.Load(), "%.80q", request)
	}
}

func TestBody_TakesMemoryAsItArrives(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	budget := NewBodyBudget(0, limit)
	arrived := make(chan int, 10)
	l := serveTo(t, budget, limit, func(*fiber.Ctx) Payer { return reporter{arrived} })
	silent := dial(t, l)
	announced := post(fmt.Sprintf("Content-Length: %d\r\n", limit), strings.Repeat("x", firstRead))
	_, err := io.WriteString(silent, announced)
	require.NoError(t, err)

	assert.Equal(t, firstRead, <-arrived)
	assert.LessOrEqual(t, inUse(budget), int64(growth*firstRead))

	require.NoError(t, silent.Close())
}

// reporter reports how many bytes have arrived.
type reporter struct{ arrived chan int }

func (reporter) Name() string   { return "reporter" }
func (r reporter) Charge(n int) { r.arrived <- n }

func TestBody_ThatBreaksTheRulesIsRefusedAndTheConnectionClosed(t *testing.T) {
	t.Parallel()
	l := serve(t, NewBodyBudget(0, bodyLimit))

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
	l := serve(t, NewBodyBudget(0, bodyLimit))

	got := send(t, l, post("Content-Length: 1\r\nContent-Encoding: gzip\r\n", "x"), false)

	want := `the body has the Content-Encoding "gzip": send it as it is, without one`
	assert.Equal(t, answer{Status: fiber.StatusTeapot, Body: want}, got)
}
