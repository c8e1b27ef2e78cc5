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

// caller makes calls and records them.
type Caller struct {
	Rec     *history.Recorder
	Urls    []string
	Token   string
	http    *http.Client
	Timeout time.Duration
	Vanish  bool // now and then a client hangs up before the answer
}

// connect makes the client that c calls with, and returns c.
func (c Caller) Connect() *Caller {
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: c.Timeout}).DialContext,
		MaxIdleConnsPerHost: 1000,
		DisableCompression:  true,
	}}
	return &c
}

// request is one HTTP request.
type Request struct {
	Method, Path string
	header       map[string]string
	body         any           // nil: none
	Answer       any           // nil: of no interest
	wait         time.Duration // how long the broker may wait with the answer
}

// vanishShare is how many of the calls a vanishing client leaves: one of these.
const vanishShare = 50

// do makes the request of op, to one of the facades, and records op.
func (c *Caller) Do(op *history.Op, r Request) *history.Op {
	timeout := c.Timeout + r.wait
	if c.Vanish && rand.IntN(vanishShare) == 0 {
		timeout = time.Duration(rand.Int64N(int64(3 * time.Millisecond)))
		c.Rec.Fault(history.FaultClients)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	defer c.Rec.Add(op)
	response, err := c.send(ctx, op, r)
	var body []byte
	if err == nil {
		body, err = readAll(response)
	}
	op.Return = c.Rec.Now()
	c.judge(op, response, body, err, r.Answer)
	return op
}

func readAll(response *http.Response) ([]byte, error) {
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// send sends the request of op and returns when the answer begins.
func (c *Caller) send(ctx context.Context, op *history.Op, r Request) (*http.Response, error) {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return nil, err
		}
	}
	op.Facade = rand.IntN(len(c.Urls))
	req, err := http.NewRequestWithContext(ctx, r.Method, c.Urls[op.Facade]+r.Path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	// net/http must not send it again by itself: it does so for requests that it
	// takes for repeatable and whose body it can read again.
	req.GetBody = nil
	if body == nil {
		req.Body = io.NopCloser(strings.NewReader(""))
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	op.Call = c.Rec.Now()
	return c.http.Do(req)
}

// failure is an answer that is no success, of the classic API or as problem
// details.
type failure struct {
	Code     string            `json:"code"`
	Tokens   []string          `json:"tokens"`
	Messages []history.Receipt `json:"messages"`
}

// judge says what came of op.
func (c *Caller) judge(op *history.Op, response *http.Response, body []byte, err error, answer any) {
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
	if op.Status < 300 {
		op.Outcome, op.Made = history.OK, op.Status == http.StatusCreated
		if answer != nil && json.Unmarshal(body, answer) != nil {
			op.Outcome, op.Code = history.Unknown, "bad_answer"
		}
		return
	}
	var f failure
	if json.Unmarshal(body, &f) != nil || f.Code == "" {
		f.Code = "bad_answer"
	}
	op.Code, op.Lost, op.Receipt = f.Code, f.Tokens, f.Messages
	op.Outcome = history.Refused
	if op.Status >= 500 && !history.TurnedAway(op) || len(op.Receipt) > 0 {
		op.Outcome = history.Unknown // if there are receipts, they say more
	}
}

// reading is an answer that is looked at as soon as it is read.
type reading struct {
	into any
	read func() bool
}

var errIncomplete = errors.New("the answer lacks what it has to have")

// UnmarshalJSON implements [json.Unmarshaler].
func (r *reading) UnmarshalJSON(body []byte) error {
	if err := json.Unmarshal(body, r.into); err != nil {
		return err
	}
	if !r.read() {
		return errIncomplete
	}
	return nil
}
