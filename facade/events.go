package facade

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/facade/service"
	"dq/facade/transport"
	"dq/jetstream"
)

const (
	mimeEvents = "text/event-stream"

	// How many messages and bytes are taken for a stream at once. A reader that
	// is slow holds that much, and what the connection buffers.
	streamMessages = 64
	streamBytes    = 64 << 10
)

// defaultHeartbeat is how long a stream or socket stays silent, unless the options
// say otherwise.
const defaultHeartbeat = 15 * time.Second

// streamTopic streams the messages of a topic.
func (f *Facade) streamTopic(c *fiber.Ctx, topic string, from service.Start, key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), f.opts.RequestTimeout)
	defer cancel()
	last, err := lastEvent(c)
	if err != nil {
		return err
	}
	if last != nil {
		from = service.Start{Sequence: max(*last, *last+1)} // of the largest there is no next
	}
	next, err := f.queue.FirstSequence(ctx, topic, from)
	if err != nil {
		return err
	}
	r := jetstream.Range{From: next, Key: key, Max: streamMessages, MaxBytes: streamBytes}
	return f.stream(c, topic, func(ctx context.Context) ([]messageView, error) {
		msgs, err := f.queue.Topics.ReadWait(ctx, topic, r)
		views := make([]messageView, len(msgs))
		for i, m := range msgs {
			views[i] = viewMessage(m)
			r.From = m.Sequence + 1
		}
		return views, err
	})
}

// v1Stream streams the messages of a consumer.
func (f *Facade) v1Stream(ctx context.Context, c *fiber.Ctx) (any, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	last, err := lastEvent(c)
	if err != nil {
		return nil, err
	}
	limits := jetstream.Limits{Messages: streamMessages, Bytes: streamBytes}
	if consumer.Lease == 0 {
		stream, err := f.queue.TakeOver(ctx, consumer, last)
		if err != nil {
			return nil, err
		}
		limits.Stream = &stream
	}
	return nil, f.stream(c, consumer.Topic, func(ctx context.Context) ([]messageView, error) {
		deliveries, err := f.fetchSome(ctx, consumer, limits)
		views := make([]messageView, len(deliveries))
		for i, d := range deliveries {
			views[i] = viewDelivery(d)
		}
		return views, err
	})
}

// lastEvent is the sequence of the last message that a reader got before its
// stream broke; nil if this is its first.
func lastEvent(c *fiber.Ctx) (*uint64, error) {
	const header = "Last-Event-ID"
	value := c.Get(header)
	if value == "" {
		return nil, nil
	}
	sequence, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return nil, &decode.FieldError{Field: header, Problem: fmt.Sprintf("want the id of an event, not %.100q", value)}
	}
	return &sequence, nil
}

// stream answers with Server-Sent Events until the client hangs up or the
// broker stops. Next waits for messages until its context ends. Nothing is
// taken before the connection has taken what was there, so a slow reader costs
// no memory and is in nobody's way.
func (f *Facade) stream(c *fiber.Ctx, topic string, next func(context.Context) ([]messageView, error)) error {
	leave, err := f.waiters.Acquire(1)
	if err != nil {
		return err
	}
	c.Context().SetContentType(mimeEvents)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no") // proxies are to pass it on at once
	client, _ := c.Context().Conn().(*transport.Conn)
	session := f.session(c, topic)
	f.streams.Add(1)
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer f.streams.Done()
		defer leave()
		ctx, cancel := context.WithCancel(f.running)
		defer cancel()
		if client != nil {
			defer client.OnHangUp(cancel)()
			defer context.AfterFunc(f.running, client.SetFinalWriteDeadline)()
		}
		if _, err := io.WriteString(w, "retry: 1000\n\n"); err != nil || w.Flush() != nil {
			return
		}
		for ctx.Err() == nil {
			if f.streamSome(ctx, session, w, next) != nil {
				return
			}
		}
	})
	return nil
}

// streamSome writes the next messages or, if there are none for a while, a
// comment.
func (f *Facade) streamSome(ctx context.Context, s *session, w *bufio.Writer, next func(context.Context) ([]messageView, error)) error {
	ctx, cancel := context.WithTimeout(ctx, f.opts.Heartbeat)
	defer cancel()
	defer s.onChange(cancel)()
	views, failed := s.some(ctx, next)
	for i := range views {
		if err := writeEvent(w, strconv.FormatUint(views[i].Sequence, 10), "", &views[i]); err != nil {
			return err
		}
	}
	switch {
	case failed != nil:
		p := f.problem(failed)
		return errors.Join(writeEvent(w, "", "error", &p), w.Flush(), failed)
	case len(views) == 0 && ctx.Err() != nil:
		if _, err := io.WriteString(w, ":\n\n"); err != nil {
			return err
		}
	}
	return w.Flush()
}

func writeEvent(w *bufio.Writer, id, name string, data any) error {
	if id != "" {
		fmt.Fprintf(w, "id: %s\n", id)
	}
	if name != "" {
		fmt.Fprintf(w, "event: %s\n", name)
	}
	_, _ = w.WriteString("data: ")
	if err := json.MarshalWrite(w, data, jsonOptions); err != nil {
		return err
	}
	_, err := w.WriteString("\n\n")
	return err
}
