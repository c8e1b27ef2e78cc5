package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"dq/cmd/dq/verify/history"
)

// Options say which deployment is called, and how.
type Options struct {
	URLs     []string      // base URLs of the brokers of one deployment
	Token    string        // bearer token; "" sends none
	Timeout  time.Duration // how long a call waits for its answer
	Patience time.Duration // how long a worker goes without any answer before it gives up
	HangUp   bool          // now and then a client closes its connection before the answer
	Messages int           // messages that the scene "log" of a round sends; 0 means 400
	Scenes   []string      // names of the scenes of a round; none means all
	Keep     bool          // a round leaves its topics in place
}

// Client sends the calls of all workers and records them.
type Client struct {
	opts Options
	rec  *history.Recorder
	http *http.Client
}

// NewClient returns a client that records its calls with rec.
func NewClient(opts Options, rec *history.Recorder) *Client {
	return &Client{opts: opts, rec: rec, http: &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: opts.Timeout}).DialContext,
		MaxIdleConnsPerHost: 1000,
		DisableCompression:  true,
	}}}
}

// request is one HTTP request.
type request struct {
	method  string
	path    string
	headers map[string]string
	body    any           // sent as JSON; nil sends no body
	wait    time.Duration // how long the broker may hold the answer back
	decode  decoder       // reads the answer of a success; nil ignores it
}

// decoder copies what matters of an answer into op. An error means that the
// answer is not what the API promises.
type decoder func(op *history.Op, body []byte) error

// Of the calls of clients that hang up, one of hangUpShare is cut off within
// hangUpTime.
const (
	hangUpShare = 50
	hangUpTime  = 3 * time.Millisecond
)

// do sends the request of op to one of the brokers, and records op.
func (c *Client) do(op *history.Op, r request) *history.Op {
	timeout := c.opts.Timeout + r.wait
	if c.opts.HangUp && rand.IntN(hangUpShare) == 0 {
		timeout = rand.N(hangUpTime)
		c.rec.CountFault(history.FaultClients)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()

	response, err := c.send(ctx, op, r)
	c.finish(op, response, err, r.decode)
	c.rec.Add(op)
	return op
}

// send sends the request of op and returns when the answer begins.
func (c *Client) send(ctx context.Context, op *history.Op, r request) (*http.Response, error) {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return nil, err
		}
	}
	op.Facade = rand.IntN(len(c.opts.URLs))
	req, err := http.NewRequestWithContext(ctx, r.method, c.opts.URLs[op.Facade]+r.path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}

	// net/http repeats requests that it takes for idempotent and whose body it can
	// read again. One operation is one request, so it must not.
	req.GetBody = nil
	if body == nil {
		req.Body = io.NopCloser(strings.NewReader(""))
	}

	req.Header.Set("Content-Type", "application/json")
	for name, value := range r.headers {
		req.Header.Set(name, value)
	}
	if c.opts.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.opts.Token)
	}

	op.Call = c.rec.Now()
	return c.http.Do(req)
}

// finish reads the answer to op and sets the outcome of op. An error says that it has
// no answer.
func (c *Client) finish(op *history.Op, response *http.Response, err error, decode decoder) {
	var body []byte
	if err == nil {
		body, err = io.ReadAll(response.Body)
		response.Body.Close()
	}
	op.Return = c.rec.Now()

	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		op.Outcome = history.Unreachable
		return
	case err != nil:
		op.Outcome, op.Code = history.Unknown, "no_answer"
		return
	}

	op.Status = response.StatusCode
	if op.Status >= 300 {
		setFailure(op, body)
		return
	}
	op.Outcome, op.Created = history.OK, op.Status == http.StatusCreated
	if decode != nil && decode(op, body) != nil {
		op.Outcome, op.Code = history.Unknown, "bad_answer"
	}
}

// setFailure sets the outcome of op from an answer that is no success, of the
// classic API or as problem details.
func setFailure(op *history.Op, body []byte) {
	var answer struct {
		Code     string            `json:"code"`
		Tokens   []string          `json:"tokens"`
		Messages []history.Receipt `json:"messages"`
		Last     *uint64           `json:"last_sequence"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Code == "" {
		answer.Code = "bad_answer"
	}
	op.Code, op.LostTokens, op.Receipts, op.Last = answer.Code, answer.Tokens, answer.Messages, answer.Last

	op.Outcome = history.Refused
	if op.Status >= 500 && !op.TurnedAway() || len(op.Receipts) > 0 {
		op.Outcome = history.Unknown // the receipts, if any, tell it for each message
	}
}
