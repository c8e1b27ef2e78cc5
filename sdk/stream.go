package sdk

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// maxSilence is how long a stream may be silent before it is taken for broken.
// The broker sends something every 15 seconds.
const maxSilence = 45 * time.Second

// Stream yields messages of the topic without a consumer, those that are there
// and those to come, until ctx ends. A stream that breaks goes on where it was.
// Stream yields an error and ends if the broker refuses, if it cannot be reached
// for as many tries as the client has, and when ctx ends.
func (t *Topic) Stream(ctx context.Context, what Selection) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		what := what
		if what.From == AtNew || what.From == (Start{}) {
			// What is new is decided here, once: the stream may break before its
			// first message.
			info, err := t.Describe(ctx)
			if err != nil {
				yield(Record{}, err)
				return
			}
			what.From = AtSequence(info.LastSequence + 1)
		}
		call := t.call(http.MethodGet, "messages")
		call.query = what.add(make(map[string][]string))
		t.client.stream(ctx, call, yield)
	}
}

// Stream yields the consumer's messages, those that are there and those to come,
// until ctx ends. It ends as [Topic.Stream] does. In mode lease each message is
// to be acknowledged. In mode auto the broker hands out messages before they are
// yielded, and those that are on their way when the loop ends are consumed: Fetch
// and Consume lose none.
func (s *Subscription) Stream(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s.topic.client.stream(ctx, s.call(http.MethodGet, "stream"), yield)
	}
}

// errStopped says that the reader of a stream wants no more.
var errStopped = errors.New("the reader of the stream has stopped")

// stream reads Server-Sent Events, over as many connections as it takes.
func (c *Client) stream(ctx context.Context, call call, yield func(Record, error) bool) {
	if err := call.check(); err != nil {
		yield(Record{}, err)
		return
	}
	pauses := newPauses(firstPause, maxPause)
	failures := uint(0)
	call.header = map[string]string{"Accept": "text/event-stream"}
	for {
		err := c.readStream(ctx, call, func(r Record) bool {
			failures = 0
			call.header["Last-Event-ID"] = strconv.FormatUint(r.Sequence, 10)
			return yield(r, nil)
		})
		if errors.Is(err, errStopped) {
			return
		}
		if failures == 0 {
			pauses.Reset()
		}
		failures++
		pauses.failed(err)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if mayRepeat(call, err) && failures <= c.retries && pauses.wait(ctx) {
			continue
		}
		yield(Record{}, err)
		return
	}
}

// readStream reads a stream until it breaks.
func (c *Client) readStream(ctx context.Context, call call, yield func(Record) bool) error {
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(c.timeout, func() { cancel(fmt.Errorf("the stream is silent: %w", context.DeadlineExceeded)) })
	defer silent.Stop()
	request, err := c.request(attempt, call, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return c.failed(attempt, call, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		raw, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		return refusal(response, raw)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxAnswer)
	var e event
	for attempt.Err() == nil && lines.Scan() {
		silent.Reset(maxSilence)
		record, err := e.read(lines.Bytes())
		if err != nil {
			return err
		}
		if record != nil && !yield(*record) {
			return errStopped
		}
	}
	if lines.Err() != nil {
		return c.failed(attempt, call, lines.Err())
	}
	return fmt.Errorf("the stream has ended: %w", io.EOF)
}

// event is a Server-Sent Event of which some lines were read.
type event struct {
	name string
	data []byte
}

// read reads the next line. It returns a record at the end of an event with one.
func (e *event) read(line []byte) (*Record, error) {
	field, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch {
	case len(line) == 0:
		done := *e
		*e = event{data: e.data[:0]}
		return done.record()
	case string(field) == "event":
		e.name = string(value)
	case string(field) == "data":
		e.data = append(e.data, value...) // the broker writes one line of it
	}
	return nil, nil
}

func (e *event) record() (*Record, error) {
	if len(e.data) == 0 {
		return nil, nil
	}
	if e.name == "error" {
		var f struct {
			failure
			Status int `json:"status"`
		}
		if err := json.Unmarshal(e.data, &f, jsonOptions); err != nil {
			return nil, fmt.Errorf("the event is not as expected: %w", err)
		}
		return nil, f.error(f.Status)
	}
	var wire wireRecord
	if err := json.Unmarshal(e.data, &wire, jsonOptions); err != nil {
		return nil, fmt.Errorf("the event is not as expected: %w", err)
	}
	record, err := wire.record()
	return &record, err
}
