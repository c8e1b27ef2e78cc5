package facade

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/jetstream"
)

// fetchRequest is the decoded query of fetch.
type fetchRequest struct {
	limits jetstream.Limits
	wait   time.Duration // for the first message
	raw    bool
}

// decodeFetch reads the query of fetch.
func decodeFetch(c *fiber.Ctx) (fetchRequest, error) {
	q := decode.NewQuery(c)
	in := fetchRequest{
		limits: jetstream.Limits{
			Messages: q.Number("limit", 1, maxMessages, 1),
			Bytes:    q.Number("max_bytes", 1, maxBytes, defaultBytes),
		},
		wait: q.Duration("wait", maxWait),
		raw:  q.Flag("raw"),
	}
	if in.raw && in.limits.Messages > 1 {
		q.Fail(&decode.FieldError{Field: "limit", Problem: "a raw answer is one message"})
	}
	return in, q.Err()
}

// fetched is the answer to a fetch that is not raw.
type fetched struct {
	Messages []messageView `json:"messages"`
}

func (f *Facade) v1Fetch(ctx context.Context, c *fiber.Ctx) (response, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	in, err := decodeFetch(c)
	if err != nil {
		return nil, err
	}

	in.limits.Bytes = callerOf(c).reserve(in.limits.Bytes)
	deliveries, err := f.fetchWaiting(c, consumer, &in)
	switch {
	case err != nil:
		return nil, err
	case in.raw && len(deliveries) == 0:
		return noContent{}, nil
	case in.raw:
		return &rawMessage{deliveries[0]}, nil
	}
	return reply(fiber.StatusOK, fetched{Messages: viewDeliveries(deliveries)}), nil
}

// fetchWaiting hands out messages of a consumer, and waits for the first as long as the client wants. The wait ends
// when the client may no longer consume.
func (f *Facade) fetchWaiting(
	c *fiber.Ctx, consumer jetstream.Consumer, in *fetchRequest,
) ([]jetstream.Delivery, error) {
	ctx, stop, err := f.waiting(c, in.wait)
	if err != nil {
		return nil, err
	}
	defer stop()

	// A change of the tokens ends the wait from here on, so none between this check and the wait is missed.
	session := f.session(c, consumer.Topic)
	if err := session.check(); err != nil {
		return nil, err
	}
	deliveries, err := f.service.Consumers.FetchWait(ctx, consumer, in.limits)

	// Messages that were handed out reach the client in any case: they would be lost otherwise.
	if len(deliveries) == 0 && err == nil {
		err = session.check()
	}
	return deliveries, err
}

// fetchViews hands out messages of a consumer for a stream or a socket. It waits for the first until ctx ends, and
// flushes to disk that they were handed out. It can return messages together with an error.
func (f *Facade) fetchViews(
	ctx context.Context, consumer jetstream.Consumer, limits jetstream.Limits,
) ([]messageView, error) {
	deliveries, err := f.service.Consumers.FetchWait(ctx, consumer, limits)
	if len(deliveries) > 0 && err == nil {
		err = f.sync(context.WithoutCancel(ctx))
	}
	return viewDeliveries(deliveries), err
}
