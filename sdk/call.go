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

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxAnswer bounds what is read of an answer, in bytes: 32 MiB of messages, the
// most that a broker puts into an answer, with every byte escaped in JSON as
// \u00XX, and 64 KiB for the rest.
const maxAnswer = 6*32<<20 + 64<<10

// jsonOptions write and read durations as texts, such as "1h30m".
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
	body         any           // what to send as JSON; nil for no body
	answer       any           // where to put the JSON of a success; nil if it does not matter
	status       *int          // where to put the status of a success; nil if it does not matter
	wait         time.Duration // how long the broker may wait for messages
	repeatable   bool          // making it twice has the effect of making it once

	// gone is the refusal that a repeated deletion gets if an earlier attempt
	// did the work and its answer was lost; nil for calls that delete nothing.
	gone *Error
}

// isClassic reports whether the call is one of the classic API or a check of the
// broker, whose answers say in their body whether they are a success.
func (c *call) isClassic() bool { return !strings.HasPrefix(c.path, "/v1/") }

// check refuses a call that cannot be sent: one with an empty name, or with text
// that is not UTF-8.
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

// encode returns the JSON to send, or nil for no body. It fails with
// [ErrInvalidText] if a text is not UTF-8.
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

// request returns the HTTP request of a call.
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
		return c.unanswered(ctx, call, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return c.unanswered(ctx, call, err)
	}

	err = call.read(response, raw)
	if refused, ok := errors.AsType[*Error](err); ok && !call.repeatable && failedHalfway(refused) {
		return unknown(err)
	}
	return err
}

// failedHalfway reports whether the broker may have done some of the work of a
// call before it failed.
func failedHalfway(err *Error) bool {
	return err.Status >= http.StatusInternalServerError && !turnedAway(err)
}

// forbidReplay keeps net/http from sending a request again by itself when its
// connection breaks: consume is a GET that changes something, and a batch may
// have an idempotency key and still not be repeatable. net/http does not repeat
// a request whose body it cannot read twice. An empty body that it cannot read
// twice has the same effect on a GET, and nothing is sent for it.
func forbidReplay(request *http.Request) {
	request.GetBody = nil
	if request.Method == http.MethodGet {
		request.Body = io.NopCloser(strings.NewReader(""))
	}
}

// unanswered returns the error of a call that got no answer: [ErrUnreachable] if
// it was not sent, [ErrOutcomeUnknown] if it was and may not be repeated.
func (c *Client) unanswered(ctx context.Context, call call, err error) error {
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

// read reads the answer of a call. It fails with an [*Error] if that is not a
// success.
func (c *call) read(response *http.Response, raw []byte) error {
	status := response.StatusCode
	success := status >= 200 && status < 300
	if success && c.isClassic() {
		var head struct {
			Status string `json:"status"`
		}
		success = json.Unmarshal(raw, &head) == nil && head.Status == "success"
	}
	if !success {
		return refusal(response, raw)
	}

	if c.status != nil {
		*c.status = status
	}
	if c.answer == nil {
		return nil
	}
	if err := json.Unmarshal(raw, c.answer, jsonOptions); err != nil {
		return fmt.Errorf("the answer is not as expected: %w", err)
	}
	return nil
}
