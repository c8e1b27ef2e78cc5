package sdk_test

import (
	"context"
	"slices"
	"time"

	"dq/sdk"
)

// apiCall is a call of a client.
type apiCall struct {
	name       string
	repeatable bool // after it may have taken effect
	call       func(context.Context, *sdk.Client) error
}

// calls are all calls of a client.
var calls = slices.Concat(classicCalls, topicCalls, produceCalls, consumerCalls)

var classicCalls = []apiCall{
	{"CreateTopic", false, func(ctx context.Context, c *sdk.Client) error { return c.CreateTopic(ctx, "T") }},
	{"Topics", true, func(ctx context.Context, c *sdk.Client) error { _, err := c.Topics(ctx); return err }},
	{"RegisterProducer", false, func(ctx context.Context, c *sdk.Client) error {
		_, err := c.RegisterProducer(ctx, "T")
		return err
	}},
	{"RegisterConsumer", false, func(ctx context.Context, c *sdk.Client) error {
		_, err := c.RegisterConsumer(ctx, "T")
		return err
	}},
	{"Produce", false, func(ctx context.Context, c *sdk.Client) error { return c.Produce(ctx, "T", 0, "m") }},
	{"Consume", false, func(ctx context.Context, c *sdk.Client) error { _, err := c.Consume(ctx, "T", 0); return err }},
	{"Size", true, func(ctx context.Context, c *sdk.Client) error { _, err := c.Size(ctx, "T", 0); return err }},
}

var topicCalls = []apiCall{
	onTopic("create", true, func(ctx context.Context, t *sdk.Topic) error {
		_, _, err := t.Create(ctx, sdk.PartialSettings{})
		return err
	}),
	onTopic("describe", true, func(ctx context.Context, t *sdk.Topic) error { _, err := t.Describe(ctx); return err }),
	onTopic("change", true, func(ctx context.Context, t *sdk.Topic) error {
		_, err := t.Change(ctx, sdk.PartialSettings{})
		return err
	}),
	onTopic("purge", true, func(ctx context.Context, t *sdk.Topic) error { _, err := t.Purge(ctx, 1); return err }),
	onTopic("delete", true, func(ctx context.Context, t *sdk.Topic) error { return t.Delete(ctx) }),
	onTopic("get", true, func(ctx context.Context, t *sdk.Topic) error { _, err := t.Get(ctx, 1); return err }),
	onTopic("browse", true, func(ctx context.Context, t *sdk.Topic) error {
		_, _, err := t.Browse(ctx, sdk.Selection{}, sdk.Limits{})
		return err
	}),
	onTopic("subscribe", false, func(ctx context.Context, t *sdk.Topic) error {
		_, err := t.Subscribe(ctx, sdk.ConsumerSpec{})
		return err
	}),
	onTopic("subscribe with a name", true, func(ctx context.Context, t *sdk.Topic) error {
		_, err := t.Subscribe(ctx, sdk.ConsumerSpec{Name: "C"})
		return err
	}),
}

var produceCalls = []apiCall{
	produceCall("produce", false, texts("m")),
	produceCall("produce with a key", true, keyed("k")),
	produceCall("batch with keys", true, keyed("k", "l")),
	produceCall("batch with a key", true, texts("a", "b"), sdk.WithIdempotencyKey("k")),
	produceCall("atomic batch with keys", false, keyed("k", "l"), sdk.Atomically()),
	produceCall("atomic batch with a key", false, keyed("k", "l"), sdk.Atomically(), sdk.WithIdempotencyKey("k")),
}

var consumerCalls = []apiCall{
	onConsumer("fetch", false, func(ctx context.Context, s *sdk.Subscription) error {
		_, err := s.Fetch(ctx, sdk.Limits{})
		return err
	}),
	onConsumer("ack", true, func(ctx context.Context, s *sdk.Subscription) error { return s.Ack(ctx, "t") }),
	onConsumer("nack", true, func(ctx context.Context, s *sdk.Subscription) error {
		return s.Nack(ctx, time.Second, "t")
	}),
	onConsumer("extend", true, func(ctx context.Context, s *sdk.Subscription) error { return s.Extend(ctx, 0, "t") }),
	onConsumer("seek", true, func(ctx context.Context, s *sdk.Subscription) error {
		_, err := s.Seek(ctx, sdk.AtNew)
		return err
	}),
	onConsumer("pause", true, func(ctx context.Context, s *sdk.Subscription) error {
		_, err := s.Pause(ctx, time.Second)
		return err
	}),
	onConsumer("resume", true, func(ctx context.Context, s *sdk.Subscription) error {
		_, err := s.Resume(ctx)
		return err
	}),
	onConsumer("delete consumer", true, func(ctx context.Context, s *sdk.Subscription) error { return s.Delete(ctx) }),
}

func onTopic(name string, repeatable bool, call func(context.Context, *sdk.Topic) error) apiCall {
	return apiCall{"v1 " + name, repeatable, func(ctx context.Context, c *sdk.Client) error {
		return call(ctx, c.Topic("T"))
	}}
}

func onConsumer(name string, repeatable bool, call func(context.Context, *sdk.Subscription) error) apiCall {
	return apiCall{"v1 " + name, repeatable, func(ctx context.Context, c *sdk.Client) error {
		return call(ctx, c.Topic("T").Subscription("C"))
	}}
}

// produceCall produces one message, or several as a batch.
func produceCall(name string, repeatable bool, messages []sdk.NewMessage, opts ...sdk.ProduceOption) apiCall {
	return onTopic(name, repeatable, func(ctx context.Context, t *sdk.Topic) (err error) {
		if len(messages) == 1 {
			_, err = t.Produce(ctx, messages[0], opts...)
		} else {
			_, err = t.ProduceBatch(ctx, messages, opts...)
		}
		return err
	})
}

// keyed returns messages with these idempotency keys.
func keyed(keys ...string) (messages []sdk.NewMessage) {
	for _, key := range keys {
		messages = append(messages, sdk.NewMessage{Data: []byte("x"), IdempotencyKey: key})
	}
	return messages
}
