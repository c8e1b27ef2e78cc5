package facade

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/jetstream"
)

func (f *Facade) v1Fetch(ctx context.Context, c *fiber.Ctx) (any, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	q := decode.NewQuery(c)
	limits := jetstream.Limits{Messages: q.Number("limit", 1, maxMessages, 1), Bytes: q.Number("max_bytes", 1, maxBytes, defaultBytes)}
	wait, raw := q.Duration("wait", maxWait), q.Flag("raw")
	if raw && limits.Messages > 1 {
		q.Fail(&decode.FieldError{Field: "limit", Problem: "a raw answer is one message"})
	}
	if q.Err() != nil {
		return nil, q.Err()
	}
	ctx, stop, err := f.waiting(c, wait)
	if err != nil {
		return nil, err
	}
	defer stop()
	session := f.session(c, consumer.Topic)
	if err := session.check(); err != nil { // now that a change of the tokens ends the wait
		return nil, err
	}
	deliveries, err := f.queue.Consumers.FetchWait(ctx, consumer, limits)
	if len(deliveries) == 0 && err == nil { // what was taken would be lost
		err = session.check()
	}
	switch {
	case err != nil:
		return nil, err
	case raw && len(deliveries) == 0:
		return noContent, nil
	case raw:
		writeRaw(c, deliveries[0])
		return nil, nil
	}
	var out struct {
		Messages []messageView `json:"messages"`
	}
	for _, d := range deliveries {
		out.Messages = append(out.Messages, viewDelivery(d))
	}
	return ok(out), nil
}

// fetchSome fetches for a stream or a socket.
func (f *Facade) fetchSome(ctx context.Context, consumer jetstream.Consumer, limits jetstream.Limits) ([]jetstream.Delivery, error) {
	deliveries, err := f.queue.Consumers.FetchWait(ctx, consumer, limits)
	if len(deliveries) > 0 && err == nil {
		err = f.sync(context.WithoutCancel(ctx))
	}
	return deliveries, err
}
