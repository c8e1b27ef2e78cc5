package sdk

import (
	"bytes"
	"context"
	"encoding/json"
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
)

// maxAnswer bounds what is read of an answer: the largest message that a broker
// can be set to take, every byte of it escaped in JSON.
const maxAnswer = 6*32<<20 + 64<<10

// The pauses between the attempts of a call.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 3 * time.Second
)

// call is one call of the HTTP API.
type call struct {
	method, path string
	query        url.Values
	body         map[string]any // nil: none
	answer       *answer        // nil: of no interest
	repeatable   bool           // making it twice is as good as once
}

// answer is where the fields of an answer go.
type answer struct {
	Message    any    `json:"message"`
	ProducerID *int64 `json:"producer_id"`
	ConsumerID *int64 `json:"consumer_id"`
	Size       *int64 `json:"size"`
}

// do makes a call, as often as it takes and is safe.
func (c *Client) do(ctx context.Context, call call) error {
	for _, values := range call.query {
		if !utf8.ValidString(values[0]) {
			return fmt.Errorf("topic: %w", ErrInvalidText)
		}
	}
	for field, value := range call.body {
		if text, ok := value.(string); ok && !utf8.ValidString(text) {
			return fmt.Errorf("%s: %w", field, ErrInvalidText)
		}
	}
	var body []byte
	if call.body != nil {
		var err error
		if body, err = json.Marshal(call.body); err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
	}
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.MaxInterval = firstPause, maxPause
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := c.attempt(ctx, call, body)
		if err != nil && !mayRepeat(call, err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(c.retries+1), backoff.WithMaxElapsedTime(0))
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		err = permanent.Unwrap()
	}
	return err
}

// mayRepeat reports whether a call that failed with err may be made again.
func mayRepeat(call call, err error) bool {
	var refused *Error
	switch {
	case errors.Is(err, ErrUnreachable):
		return true // it had no effect
	case errors.As(err, &refused):
		return call.repeatable && (refused.Status >= http.StatusInternalServerError || refused.Status == http.StatusTooManyRequests)
	}
	return call.repeatable
}

// attempt makes a call once.
func (c *Client) attempt(ctx context.Context, call call, body []byte) error {
	attempt, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	target := c.base + call.path
	if len(call.query) > 0 {
		target += "?" + call.query.Encode()
	}
	request, err := http.NewRequestWithContext(attempt, call.method, target, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if !call.repeatable {
		forbidReplay(request)
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
	err = read(response.StatusCode, raw, call.answer)
	if response.StatusCode >= http.StatusInternalServerError && !call.repeatable {
		err = unknown(err)
	}
	return err
}

// forbidReplay keeps net/http from making a GET again by itself when its
// connection breaks: consume is a GET that changes something. net/http does not
// repeat a request with a body that it cannot read twice, and sends none for
// one that turns out to be empty.
func forbidReplay(request *http.Request) {
	if request.Method == http.MethodGet {
		request.Body, request.GetBody = io.NopCloser(strings.NewReader("")), nil
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

// read reads the answer of a call into fields.
func read(status int, raw []byte, fields *answer) error {
	var head struct {
		Status, Code string
		Message      json.RawMessage
	}
	err := json.Unmarshal(raw, &head)
	if err == nil && status == http.StatusOK && head.Status == "success" {
		if fields == nil {
			return nil
		}
		if err := json.Unmarshal(raw, fields); err != nil {
			return fmt.Errorf("the answer is not as expected: %w", err)
		}
		return nil
	}
	failure := &Error{Status: status, Code: head.Code}
	if err != nil || json.Unmarshal(head.Message, &failure.Message) != nil || failure.Message == "" {
		failure.Message = fmt.Sprintf("HTTP status %d: %.200s", status, raw)
	}
	if failure.Code == "" {
		failure.Code = classicCode(failure.Message)
	}
	return failure
}

// classicCode tells a refusal by its text, for brokers that send no code.
func classicCode(message string) string {
	for _, row := range []struct{ start, part, code string }{
		{"Topic:", " already exist", "topic_exists"},
		{"Topic:", " does not exist", "topic_not_found"},
		{"Producer:", " does not exist", "producer_not_found"},
		{"Consumer:", " does not exist", "consumer_not_found"},
		{"Producer:", " is not registered with ", "producer_not_registered"},
		{"Consumer:", " is not registered with ", "consumer_not_registered"},
		{"Empty logs for ", "", "empty"},
		{"No Topic found", "", "no_topics"},
	} {
		if strings.HasPrefix(message, row.start) && strings.Contains(message, row.part) {
			return row.code
		}
	}
	return "unknown"
}
