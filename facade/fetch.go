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

// fetched is the answer to a fetch that is neither raw nor large.
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
	list := &messageReply{hold: f.hold()}
	deliveries, err := f.fetchWaiting(c, consumer, &in, list)
	switch {
	case err != nil:
		_ = list.Close()
		return nil, err
	case in.raw && len(deliveries) == 0:
		return noContent{}, nil
	case in.raw:
		return &rawMessage{deliveries[0], list.hold}, nil
	}

	views := viewDeliveries(deliveries)
	if list.release == nil { // encoding a small answer at once is faster
		return &heldReply[fetched]{fetched{Messages: views}, list.hold}, nil
	}
	for _, view := range views {
		if err := list.add(view); err != nil {
			_ = list.Close()
			return nil, err
		}
	}
	return list, nil
}

// fetchWaiting hands out messages of a consumer, and waits for the first as long as the client wants. The wait ends
// when the client may no longer consume.
func (f *Facade) fetchWaiting(
	c *fiber.Ctx, consumer jetstream.Consumer, in *fetchRequest, list *messageReply,
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
	small := in.limits
	small.Bytes, small.Memory = min(small.Bytes, smallAnswer), list.hold
	deliveries, err := f.service.Consumers.FetchWait(ctx, consumer, small)
	stop()
	if err == nil {
		deliveries = append(deliveries, f.fetchRest(consumer, in, deliveries, list)...)
	}

	// Messages that were handed out reach the client in any case: they would be lost otherwise.
	if len(deliveries) == 0 && err == nil {
		err = session.check()
	}
	return deliveries, err
}

// fetchRest hands out what a large fetch asks for after the first messages, as far as the memory for answers allows. An
// error is not reported: the first messages reach the client in any case, and the next fetch meets it again.
func (f *Facade) fetchRest(
	consumer jetstream.Consumer, in *fetchRequest, first []jetstream.Delivery, list *messageReply,
) []jetstream.Delivery {
	bytes := 0
	for i := range first {
		bytes += len(first[i].Data)
	}
	rest := jetstream.Limits{Messages: in.limits.Messages - len(first), Bytes: in.limits.Bytes - bytes}
	if bytes < smallAnswer || rest.Messages <= 0 || rest.Bytes <= 0 || f.holdMemory(list, rest.Bytes) != nil {
		return nil
	}

	ctx, cancel := context.WithTimeout(context.Background(), f.opts.RequestTimeout)
	defer cancel()
	deliveries, _ := f.service.Consumers.Fetch(ctx, consumer, rest)
	return deliveries
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
