package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cenkalti/backoff/v5"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxAnswer bounds what is read of an answer: the largest message that a broker
// can be set to take, every byte of it escaped in JSON.
const maxAnswer = 6*32<<20 + 64<<10

// The pauses between the attempts of a call.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 3 * time.Second

	// A broker that asks for a longer pause than that is not waited for.
	maxRetryAfter = time.Minute
)

// jsonOptions write durations as texts, such as "1h30m".
var jsonOptions = json.JoinOptions(
	json.WithMarshalers(json.MarshalToFunc(func(enc *jsontext.Encoder, d time.Duration) error {
		return enc.WriteToken(jsontext.String(d.String()))
	})),
	json.WithUnmarshalers(json.UnmarshalFromFunc(func(dec *jsontext.Decoder, d *time.Duration) error {
		token, err := dec.ReadToken()
		if err == nil {
			*d, err = time.ParseDuration(token.String())
		}
		return err
	})),
)

// call is one call of the HTTP API.
type call struct {
	method, path string
	query        url.Values
	header       map[string]string
	body         any           // nil: none
	answer       any           // nil: of no interest
	status       *int          // gets the status of a success, unless it is nil
	wait         time.Duration // how long the broker may wait for messages
	repeatable   bool          // making it twice is as good as once
	// gone is how a repeated call is refused after an attempt that was not
	// answered had done the work; nil: it is not.
	gone *Error
}

// modern says that success is told by the status alone.
func (c *call) modern() bool { return strings.HasPrefix(c.path, "/v1/") }

// check refuses what cannot be sent.
func (c *call) check() error {
	if strings.Contains(c.path, "//") || strings.HasSuffix(c.path, "/") {
		return &Error{Code: ErrInvalidTopicName.Code, Message: "the name of a topic or consumer may not be empty"}
	}
	if path, err := url.PathUnescape(c.path); err != nil || !utf8.ValidString(path) {
		return fmt.Errorf("the name of a topic or consumer: %w", ErrInvalidText)
	}
	for name, values := range c.query {
		if !utf8.ValidString(values[0]) {
			return fmt.Errorf("%s: %w", name, ErrInvalidText)
		}
	}
	return nil
}

// encode is the body that is sent.
func (c *call) encode() ([]byte, error) {
	if c.body == nil {
		return nil, nil
	}
	body, err := json.Marshal(c.body, jsonOptions)
	if _, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return nil, fmt.Errorf("%w: %w", ErrInvalidText, err)
	}
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return body, nil
}

// pauses grow from attempt to attempt, and are at least what the broker asked
// for.
type pauses struct {
	*backoff.ExponentialBackOff
	atLeast time.Duration
}

func newPauses(first, longest time.Duration) *pauses {
	p := &pauses{ExponentialBackOff: backoff.NewExponentialBackOff()}
	p.InitialInterval, p.MaxInterval = first, longest
	return p
}

// NextBackOff implements [backoff.BackOff].
func (p *pauses) NextBackOff() time.Duration {
	next := max(p.ExponentialBackOff.NextBackOff(), p.atLeast)
	p.atLeast = 0
	return next
}

// failed takes note of a pause that the broker asked for.
func (p *pauses) failed(err error) {
	if refused, ok := errors.AsType[*Error](err); ok {
		p.atLeast = refused.RetryAfter
	}
}

// wait waits for the next pause, or until ctx ends, and says whether it did not.
func (p *pauses) wait(ctx context.Context) bool {
	timer := time.NewTimer(p.NextBackOff())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// do makes a call, as often as it takes and is safe.
func (c *Client) do(ctx context.Context, call call) error {
	if err := call.check(); err != nil {
		return err
	}
	body, err := call.encode()
	if err != nil {
		return err
	}
	pauses := newPauses(firstPause, maxPause)
	var last error
	reached := false // an attempt may have done the work
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		err := c.attempt(ctx, call, body)
		switch {
		case reached && call.gone != nil && errors.Is(err, call.gone):
			err = nil
		case err != nil && !mayRepeat(call, err):
			return struct{}{}, backoff.Permanent(err)
		}
		pauses.failed(err)
		reached = reached || !errors.Is(err, ErrUnreachable)
		last = err
		return struct{}{}, err
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(c.retries+1), backoff.WithMaxElapsedTime(0))
	if permanent, ok := errors.AsType[*backoff.PermanentError](err); ok {
		err = permanent.Unwrap()
	}
	if err != nil && last != nil && !errors.Is(err, last) && context.Cause(ctx) == err {
		err = fmt.Errorf("%w; the last attempt: %w", err, last)
	}
	return err
}

// mayRepeat reports whether a call that failed with err may be made again.
func mayRepeat(call call, err error) bool {
	if errors.Is(err, ErrUnreachable) {
		return true // it had no effect
	}
	refused, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return call.repeatable
	case refused.RetryAfter > maxRetryAfter:
		return false
	case turnedAway(refused):
		return true
	}
	return call.repeatable && (refused.Status >= http.StatusInternalServerError || refused.Status == http.StatusTooManyRequests)
}

// turnedAway reports whether the broker has refused a call before it did any of
// its work, because there are too many.
func turnedAway(err *Error) bool {
	return err.Code == ErrRateLimited.Code || err.Code == ErrOverloaded.Code
}

// request makes the HTTP request of a call.
func (c *Client) request(ctx context.Context, call call, body []byte) (*http.Request, error) {
	target := c.base + call.path
	if len(call.query) > 0 {
		target += "?" + call.query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, call.method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range call.header {
		request.Header.Set(name, value)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if !call.repeatable {
		forbidReplay(request)
	}
	return request, nil
}

// attempt makes a call once.
func (c *Client) attempt(ctx context.Context, call call, body []byte) error {
	attempt, cancel := context.WithTimeout(ctx, c.timeout+call.wait)
	defer cancel()
	request, err := c.request(attempt, call, body)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.failed(ctx, call, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return c.failed(ctx, call, err)
	}
	err = read(response, raw, call)
	if refused, ok := errors.AsType[*Error](err); ok && refused.Status >= http.StatusInternalServerError && !call.repeatable && !turnedAway(refused) {
		err = unknown(err)
	}
	return err
}

// forbidReplay keeps net/http from sending a request again by itself when its
// connection breaks: consume is a GET that changes something, and a batch may
// have an idempotency key and still not be repeatable. net/http does not repeat
// a request with a body that it cannot read twice, and sends none for one that
// turns out to be empty.
func forbidReplay(request *http.Request) {
	request.GetBody = nil
	if request.Method == http.MethodGet {
		request.Body = io.NopCloser(strings.NewReader(""))
	}
}

// failed is the error of a call that was not answered.
func (c *Client) failed(ctx context.Context, call call, err error) error {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, c.base, err)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if call.repeatable {
		return err
	}
	return unknown(err)
}

// read reads the answer of a call.
func read(response *http.Response, raw []byte, call call) error {
	status := response.StatusCode
	success := status >= 200 && status < 300
	if success && !call.modern() {
		var head struct {
			Status string `json:"status"`
		}
		success = json.Unmarshal(raw, &head) == nil && head.Status == "success"
	}
	if !success {
		return refusal(response, raw)
	}
	if call.status != nil {
		*call.status = status
	}
	if call.answer == nil {
		return nil
	}
	if err := json.Unmarshal(raw, call.answer, jsonOptions); err != nil {
		return fmt.Errorf("the answer is not as expected: %w", err)
	}
	return nil
}
