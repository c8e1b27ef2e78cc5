package facade

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/facade/service"
	"dq/facade/transport"
	"dq/jetstream"
)

const mimeEvents = "text/event-stream"

// eventPiece is how much of the events is written at once. The HTTP server copies it, and up to four pieces more.
const eventPiece = 16 << 10

// streamTopic returns the answer that streams the messages of a topic.
func (f *Facade) streamTopic(
	ctx context.Context, c *fiber.Ctx, topic string, from service.Start, key string,
) (response, error) {
	last, err := lastEvent(c)
	if err != nil {
		return nil, err
	}
	if last != nil {
		from = service.Start{Sequence: max(*last, *last+1)} // the largest sequence has none after it
	}
	next, err := f.service.FirstSequence(ctx, topic, from)
	if err != nil {
		return nil, err
	}

	follower := &topicFollower{
		topics: f.service.Topics,
		topic:  topic,
		rest:   jetstream.Range{From: next, Key: key, Max: streamMessages, MaxBytes: streamBytes},
	}
	return &eventStream{facade: f, topic: topic, next: follower.next}, nil
}

// A topicFollower reads a topic message after message.
type topicFollower struct {
	topics *jetstream.Topics
	topic  string
	rest   jetstream.Range // not read yet
}

// next returns the messages after those that the previous call returned. It waits for one until ctx ends, and takes the
// memory before it reads.
func (t *topicFollower) next(ctx context.Context, memory jetstream.ReadMemory) ([]messageView, error) {
	r := t.rest
	r.Memory = memory
	msgs, err := t.topics.ReadWait(ctx, t.topic, r)
	views := make([]messageView, len(msgs))
	for i, m := range msgs {
		views[i] = viewMessage(m)
		t.rest.From = m.Sequence + 1
	}
	return views, err
}

// v1Stream streams the messages of a consumer.
func (f *Facade) v1Stream(ctx context.Context, c *fiber.Ctx) (response, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	last, err := lastEvent(c)
	if err != nil {
		return nil, err
	}

	// A log reader has one stream at a time: the newest ends the one before.
	limits := jetstream.Limits{Messages: streamMessages, Bytes: streamBytes}
	if consumer.Lease == 0 {
		stream, err := f.service.TakeOver(ctx, consumer, last)
		if err != nil {
			return nil, err
		}
		limits.Stream = &stream
	}
	next := func(ctx context.Context, memory jetstream.ReadMemory) ([]messageView, error) {
		limits.Memory = memory
		return f.fetchViews(ctx, consumer, limits)
	}
	return &eventStream{facade: f, topic: consumer.Topic, next: next}, nil
}

// lastEvent returns the sequence of the last message that a client got before its stream broke; nil if it had no stream
// before.
func lastEvent(c *fiber.Ctx) (*uint64, error) {
	const header = "Last-Event-ID"
	value := c.Get(header)
	if value == "" {
		return nil, nil
	}
	sequence, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		problem := fmt.Sprintf("want the id of an event, not %.100q", value)
		return nil, &decode.FieldError{Field: header, Problem: problem}
	}
	return &sequence, nil
}

// An eventStream is the answer that sends Server-Sent Events until the client hangs up or the broker stops. It fetches
// messages only after the connection has taken the earlier ones, and only if there is memory for them. A reader that
// has stopped is cut off if others wait for that memory.
type eventStream struct {
	facade *Facade
	topic  string
	// next waits for messages until its context ends.
	next    func(context.Context, jetstream.ReadMemory) ([]messageView, error)
	session *session
	client  *transport.Conn // nil in tests without a connection
}

func (s *eventStream) write(c *fiber.Ctx) error {
	leave, err := s.facade.waiters.Acquire(1)
	if err != nil {
		return err
	}
	c.Context().SetContentType(mimeEvents)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no") // proxies must pass it on at once
	s.client, _ = c.Context().Conn().(*transport.Conn)
	s.session = s.facade.session(c, s.topic) // c ends before the stream begins

	s.facade.streams.Add(1)
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer s.facade.streams.Done()
		defer leave()
		s.serve(w)
	})
	return nil
}

// serve writes events until the client hangs up or the broker stops.
func (s *eventStream) serve(w *bufio.Writer) {
	ctx, cancel := context.WithCancel(s.facade.running)
	defer cancel()
	if s.client != nil {
		defer s.client.OnHangUp(cancel)()
		defer context.AfterFunc(s.facade.running, s.client.SetFinalWriteDeadline)()
	}

	if _, err := io.WriteString(w, "retry: 1000\n\n"); err != nil || w.Flush() != nil {
		return
	}
	for ctx.Err() == nil {
		if s.writeNext(ctx, w) != nil {
			return
		}
	}
}

// writeNext writes the next messages. If none come within a heartbeat, it writes a comment.
func (s *eventStream) writeNext(ctx context.Context, w *bufio.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, s.facade.opts.Heartbeat)
	defer cancel()
	defer s.session.onChange(cancel)()

	hold := s.facade.holdUntil(ctx)
	defer hold.Give()
	views, failed := s.session.nextBatch(ctx, func(ctx context.Context) ([]messageView, error) {
		return s.next(ctx, hold)
	})
	if err := s.writeMessages(w, views, hold); err != nil {
		return err
	}

	switch {
	case failed != nil:
		details := s.facade.failLater(failed)
		return errors.Join(writeErrorEvent(w, &details), w.Flush(), failed)
	case len(views) == 0 && ctx.Err() != nil:
		if _, err := io.WriteString(w, ":\n\n"); err != nil {
			return err
		}
	}
	return w.Flush()
}

// writeMessages writes the events of messages. All are encoded first: until the client has taken them, they are in
// memory once.
func (s *eventStream) writeMessages(w *bufio.Writer, views []messageView, hold *readHold) error {
	const other = 256 // bytes of an event, about, besides the data
	var events bytes.Buffer
	events.Grow(dataOf(views) + other*len(views))
	for i := range views {
		if err := writeMessageEvent(&events, &views[i]); err != nil {
			return err
		}
		views[i] = messageView{} // frees it
	}
	hold.shrink(events.Len())
	hold.begin(s.client)

	for piece := range slices.Chunk(events.Bytes(), eventPiece) {
		if _, err := w.Write(piece); err != nil {
			return err
		}
		hold.moved(len(piece))
	}
	return w.Flush()
}

// writeMessageEvent writes the event of a message. Its id is what the client sends as Last-Event-ID.
func writeMessageEvent(w *bytes.Buffer, view *messageView) error {
	fmt.Fprintf(w, "id: %d\ndata: ", view.Sequence)
	if err := json.MarshalWrite(w, view, jsonOptions); err != nil {
		return err
	}
	_, err := w.WriteString("\n\n")
	return err
}

// writeErrorEvent writes the event that ends a stream.
func writeErrorEvent(w *bufio.Writer, details *problemDetails) error {
	_, _ = w.WriteString("event: error\ndata: ")
	if err := json.MarshalWrite(w, details, jsonOptions); err != nil {
		return err
	}
	_, err := w.WriteString("\n\n")
	return err
}
