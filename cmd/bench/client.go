package bench

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// client makes calls with as little work as possible, since it shares the
// machine with the broker.
type client struct {
	http *fasthttp.HostClient
	base string
}

func newClient(url string, connections int) *client {
	address := strings.TrimPrefix(strings.TrimPrefix(url, "http://"), "https://")
	return &client{
		base: strings.TrimSuffix(url, "/"),
		http: &fasthttp.HostClient{
			Addr: address, IsTLS: strings.HasPrefix(url, "https://"), MaxConns: connections + 1,
			ReadTimeout: time.Minute, WriteTimeout: time.Minute, MaxIdleConnDuration: time.Minute,
		},
	}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// do makes a call, and hands its answer to look before it is used again.
func (c *client) do(method, path, contentType string, body []byte, look func(status int, answer []byte) error) error {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.Header.SetMethod(method)
	request.SetRequestURI(c.base + path)
	if contentType != "" {
		request.Header.SetContentType(contentType)
	}
	request.SetBodyRaw(body)
	if err := c.http.Do(request, response); err != nil {
		return err
	}
	return look(response.StatusCode(), response.Body())
}

// must makes a call that has to be answered with a status below 300, and finds
// an integer behind mark in the answer, if mark is not empty.
func (c *client) must(method, path string, body []byte, mark string) (n int64, err error) {
	err = c.do(method, path, "application/json", body, func(status int, answer []byte) error {
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
