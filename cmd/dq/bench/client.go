package bench

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

const jsonType = "application/json"

// client makes calls with as little work as possible, since it shares the
// machine with the broker.
type client struct {
	http  *fasthttp.HostClient
	base  string
	token string
}

func newClient(url string, connections int, token string) *client {
	base := strings.TrimSuffix(url, "/")
	address := strings.TrimPrefix(strings.TrimPrefix(base, "http://"), "https://")
	return &client{base: base, token: token, http: &fasthttp.HostClient{
		Addr: address, IsTLS: strings.HasPrefix(url, "https://"), MaxConns: connections + 1,
		ReadTimeout: time.Minute, WriteTimeout: time.Minute, MaxIdleConnDuration: time.Minute,
		// A consume is a GET that takes a message: made twice, it takes one that
		// nobody counts.
		MaxIdemponentCallAttempts: 1,
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// call prepares a call. It may be made again and again, but not twice at once.
func (c *client) call(method, path string, body []byte) *fasthttp.Request {
	call := &fasthttp.Request{}
	call.Header.SetMethod(method)
	call.SetRequestURI(c.base + path)
	if c.token != "" {
		call.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != nil {
		call.Header.SetContentType(jsonType)
		call.SetBodyRaw(body)
	}
	return call
}

// calls prepares a call for each of the connections.
func calls(connections int, prepare func(i int) *fasthttp.Request) []*fasthttp.Request {
	all := make([]*fasthttp.Request, connections)
	for i := range all {
		all[i] = prepare(i)
	}
	return all
}

// do makes a call, and hands its answer to look before it is used again.
func (c *client) do(call *fasthttp.Request, look func(status int, answer []byte) error) error {
	response := fasthttp.AcquireResponse()
	defer fasthttp.ReleaseResponse(response)
	if err := c.http.Do(call, response); err != nil {
		return fmt.Errorf("%s %s: %w", call.Header.Method(), call.URI().RequestURI(), err)
	}
	return look(response.StatusCode(), response.Body())
}

// expect accepts an answer of that status in which mark stands so many times.
func expect(want int, mark string, times int) func(int, []byte) error {
	needle := []byte(mark)
	return func(status int, answer []byte) error {
		if got := bytes.Count(answer, needle); status != want || got != times {
			return fmt.Errorf("want status %d and %d times %s, got %d and %d: %.200s", want, times, mark, status, got, answer)
		}
		return nil
	}
}

// must makes a call that has to be answered with a status below 300, and finds
// an integer behind mark in the answer, if mark is not empty.
func (c *client) must(method, path, body, mark string) (n int64, err error) {
	err = c.do(c.call(method, path, []byte(body)), func(status int, answer []byte) error {
		if status >= 300 {
			return fmt.Errorf("%s %s: status %d: %.200s", method, path, status, answer)
		}
		if mark == "" {
			return nil
		}
		_, rest, ok := bytes.Cut(answer, []byte(mark))
		end := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if !ok || end < 0 {
			return fmt.Errorf("%s %s: there is no %s in %.200s", method, path, mark, answer)
		}
		n, err = strconv.ParseInt(string(rest[:end]), 10, 64)
		return err
	})
	return n, err
}
