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
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// maxSilence is how long a stream may be silent before it counts as broken: the
// broker sends something every 15 seconds, so two of these went missing.
const maxSilence = 45 * time.Second

// Stream yields messages of the topic without a consumer: those that it holds and
// those that are produced until ctx ends. When the connection breaks, the stream
// connects again and goes on after the last message that it yielded. It yields an
// error and ends if the broker refuses, if it yields no message for as many
// attempts as the client makes, and when ctx ends. Errors: [ErrTopicNotFound],
// [ErrInvalidField], [ErrUnreachable], the cause of ctx.
func (t *Topic) Stream(ctx context.Context, what Selection) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		what := what
		if what.From == AtNew || what.From == (Start{}) {
			// Decide once what is new: the stream may break before its first message.
			info, err := t.Describe(ctx)
			if err != nil {
				yield(Record{}, err)
				return
			}
			what.From = AtSequence(info.LastSequence + 1)
		}

		call := t.call(http.MethodGet, "messages")
		call.query = what.addTo(make(url.Values))
		t.client.stream(ctx, call, yield)
	}
}

// Stream yields the consumer's messages: those that wait for it and those that are
// produced until ctx ends. It connects again, and ends, as [Topic.Stream] does. In
// mode lease acknowledge each message with [Subscription.Ack]. In mode auto the
// broker consumes messages before they are yielded, so that those that are on
// their way when the loop ends are lost; Fetch and Consume lose none. Errors:
// those of [Topic.Stream], [ErrConsumerNotFound], and [ErrSuperseded] when another
// stream of a consumer in mode auto takes over.
func (s *Subscription) Stream(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s.topic.client.stream(ctx, s.call(http.MethodGet, "stream"), yield)
	}
}

// errStopped says that the reader of a stream wants no more.
var errStopped = errors.New("the reader of the stream has stopped")

// stream reads Server-Sent Events, and connects again when a connection breaks.
type stream struct {
	client   *Client
	call     call
	yield    func(Record, error) bool
	failures uint // connections that broke since the last message
}

// stream yields the messages of a stream until it ends.
func (c *Client) stream(ctx context.Context, call call, yield func(Record, error) bool) {
	if err := call.check(); err != nil {
		yield(Record{}, err)
		return
	}
	call.header = map[string]string{"Accept": "text/event-stream"}

	s := &stream{client: c, call: call, yield: yield}
	if err := s.run(ctx); err != nil {
		yield(Record{}, err)
	}
}

// run connects until the stream ends. It returns nil if the reader wants no more.
func (s *stream) run(ctx context.Context) error {
	pauses := newPauses(firstPause, maxPause)
	for {
		err := s.connect(ctx)
		if errors.Is(err, errStopped) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}

		if s.failures == 0 {
			pauses.reset()
		}
		s.failures++
		pauses.failed(err)
		if !mayRepeat(s.call, err) || s.failures > s.client.retries || !pauses.wait(ctx) {
			return err
		}
	}
}

// connect makes one connection and reads it until it breaks. It fails with
// errStopped if the reader wants no more.
func (s *stream) connect(ctx context.Context) error {
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errSilent := fmt.Errorf("the stream is silent: %w", context.DeadlineExceeded)
	silent := time.AfterFunc(s.client.timeout, func() { cancel(errSilent) })
	defer silent.Stop()

	request, err := s.client.request(attempt, s.call, nil)
	if err != nil {
		return err
	}
	response, err := s.client.http.Do(request)
	if err != nil {
		return s.client.unanswered(attempt, s.call, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || !isEventStream(response) {
		raw, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		return refusal(response, raw)
	}

	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxAnswer)
	var e event
	for attempt.Err() == nil && lines.Scan() {
		silent.Reset(maxSilence)
		if err := s.readLine(&e, lines.Bytes()); err != nil {
			return err
		}
	}
	if lines.Err() != nil {
		return s.client.unanswered(attempt, s.call, lines.Err())
	}
	return fmt.Errorf("the stream has ended: %w", io.EOF)
}

func isEventStream(response *http.Response) bool {
	return strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream")
}

// readLine adds a line to an event and, if it is the last, yields the event's
// message.
func (s *stream) readLine(e *event, line []byte) error {
	record, err := e.read(line)
	if err != nil || record == nil {
		return err
	}

	s.failures = 0
	s.call.header["Last-Event-ID"] = strconv.FormatUint(record.Sequence, 10)
	if !s.yield(*record, nil) {
		return errStopped
	}
	return nil
}

// event is a Server-Sent Event of which some lines have been read.
type event struct {
	name string
	data []byte
}

// read reads the next line. At the end of an event it returns the event's message,
// or its error; an event without data has neither.
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
		e.data = append(e.data, value...) // the broker writes it in one line
	}
	return nil, nil
}

// record returns the message of a complete event, nil if it has no data.
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
