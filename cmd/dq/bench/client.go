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

// client makes calls with as little work as possible, because it shares the machine
// with the broker.
type client struct {
	http  *fasthttp.HostClient
	base  string
	token string
}

// newClient makes a client of the broker at url for that many connections.
func newClient(url string, connections int, token string) *client {
	base := strings.TrimSuffix(url, "/")
	address := strings.TrimPrefix(strings.TrimPrefix(base, "http://"), "https://")
	return &client{base: base, token: token, http: &fasthttp.HostClient{
		Addr: address, IsTLS: strings.HasPrefix(url, "https://"), MaxConns: connections + 1,
		ReadTimeout: time.Minute, WriteTimeout: time.Minute, MaxIdleConnDuration: time.Minute,
		// A consume is a GET that takes a message. Repeated, it would take one that
		// is not counted.
		MaxIdemponentCallAttempts: 1,
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// prepare makes a request. It can be used many times, but not by two calls at once.
func (c *client) prepare(method, path string, body []byte) *fasthttp.Request {
	request := &fasthttp.Request{}
	request.Header.SetMethod(method)
	request.SetRequestURI(c.base + path)
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}

	if body != nil {
		request.Header.SetContentType(jsonType)
		request.SetBodyRaw(body)
	}
	return request
}

// prepareAll makes a request for each of the connections.
func prepareAll(connections int, prepare func(i int) *fasthttp.Request) []*fasthttp.Request {
	all := make([]*fasthttp.Request, connections)
	for i := range all {
		all[i] = prepare(i)
	}
	return all
}

// do makes a call. The caller releases the response by [fasthttp.ReleaseResponse].
func (c *client) do(request *fasthttp.Request) (*fasthttp.Response, error) {
	response := fasthttp.AcquireResponse()
	if err := c.http.Do(request, response); err != nil {
		fasthttp.ReleaseResponse(response)
		return nil, fmt.Errorf("%s %s: %w", request.Header.Method(), request.URI().RequestURI(), err)
	}
	return response, nil
}

// expectation describes the answer of a successful call.
type expectation struct {
	status int
	mark   string // occurs in the body
	times  int    // how often
}

// expect makes a call and fails if its answer is another than want.
func (c *client) expect(request *fasthttp.Request, want expectation) error {
	response, err := c.do(request)
	if err != nil {
		return err
	}
	defer fasthttp.ReleaseResponse(response)

	status, body := response.StatusCode(), response.Body()
	if got := bytes.Count(body, []byte(want.mark)); status != want.status || got != want.times {
		return fmt.Errorf("want status %d and %d times %s, got %d and %d: %.200s",
			want.status, want.times, want.mark, status, got, body)
	}
	return nil
}

// send makes a call that has to be answered with a status below 300, and returns the
// body of the answer.
func (c *client) send(method, path, body string) ([]byte, error) {
	response, err := c.do(c.prepare(method, path, []byte(body)))
	if err != nil {
		return nil, err
	}
	defer fasthttp.ReleaseResponse(response)

	if response.StatusCode() >= 300 {
		return nil, fmt.Errorf("%s %s: status %d: %.200s", method, path, response.StatusCode(), response.Body())
	}
	return bytes.Clone(response.Body()), nil
}

// postForID makes a POST like send and returns the integer in the field of its answer.
func (c *client) postForID(path, body, field string) (int64, error) {
	answer, err := c.send("POST", path, body)
	if err != nil {
		return 0, err
	}

	_, rest, ok := bytes.Cut(answer, []byte(`"`+field+`":`))
	end := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if !ok || end < 0 {
		return 0, fmt.Errorf("POST %s: the answer has no %s: %.200s", path, field, answer)
	}
	return strconv.ParseInt(string(rest[:end]), 10, 64)
}
