package facade

import (
	"context"
	"errors"
	"time"

	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/jetstream"
)

// fetchRequest is the decoded query and body of fetch.
type fetchRequest struct {
	limits jetstream.Limits
	wait   time.Duration // for the first message
	raw    bool
	ack    tokenList // of messages to acknowledge first
}

// decodeFetch reads the query and the body of fetch.
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
	if q.Err() != nil {
		return in, q.Err()
	}

	var body struct {
		Ack tokenList `json:"ack"`
	}
	if err := decode.OptionalJSON(c.BodyRaw(), &body); err != nil {
		return in, err
	}
	if in.ack = body.Ack; in.raw && len(in.ack) > 0 {
		const problem = "a raw answer has no place for lost tokens: leave out raw, or acknowledge with ack"
		return in, &decode.FieldError{Field: "ack", Problem: problem}
	}
	return in, nil
}

// fetched is the answer to a fetch that is neither raw nor large.
type fetched struct {
	Messages []messageView `json:"messages"`
	Lost     []string      `json:"lost,omitzero"`
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

	lost, err := f.ackBeforeFetch(ctx, consumer, in.ack)
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
		return &heldReply[fetched]{fetched{Messages: views, Lost: lost}, list.hold}, nil
	}
	list.setLost(lost)
	for _, view := range views {
		if err := list.add(view); err != nil {
			_ = list.Close()
			return nil, err
		}
	}
	return list, nil
}

// ackBeforeFetch acknowledges the messages of tokens, and returns the tokens that hold no lease. They are no error: the
// client would lose the messages of a fetch that answers with an error.
func (f *Facade) ackBeforeFetch(ctx context.Context, consumer jetstream.Consumer, tokens tokenList) ([]string, error) {
	if len(tokens) == 0 {
		return nil, nil
	}
	err := f.service.Consumers.Ack(ctx, consumer, tokens)
	if lost, ok := errors.AsType[*jetstream.LeaseError](err); ok {
		return lost.Tokens, nil
	}
	return nil, err
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
