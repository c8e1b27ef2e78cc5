package sdk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// defaultIdleTimeout is that of the old client library.
const defaultIdleTimeout = 5 * time.Second

// The pauses of a consumer whose topics are all empty.
const (
	firstPoll = 2 * time.Millisecond
	maxPoll   = 200 * time.Millisecond
)

// A Message is one message that a [Consumer] got.
type Message struct{ Topic, Text string }

// A Consumer receives the messages of the topics for which it registered, each
// once, in the order of each topic.
type Consumer struct {
	client      *Client
	topics      []string
	ids         []int64
	idleTimeout time.Duration
	closed      atomic.Bool
}

// A ConsumerOption changes how a [Consumer] works.
type ConsumerOption func(*Consumer)

// WithIdleTimeout sets after how long without a message [Consumer.Messages]
// ends; 5 seconds by default, 0 is never.
func WithIdleTimeout(timeout time.Duration) ConsumerOption {
	return func(c *Consumer) { c.idleTimeout = timeout }
}

// NewConsumer registers a consumer for each of topics. It receives what is
// produced from now on. It fails with [ErrTopicNotFound].
func NewConsumer(ctx context.Context, client *Client, topics []string, opts ...ConsumerOption) (*Consumer, error) {
	c := &Consumer{client: client, topics: slices.Clone(topics), idleTimeout: defaultIdleTimeout}
	for _, opt := range opts {
		opt(c)
	}
	for _, topic := range topics {
		id, err := client.RegisterConsumer(ctx, topic)
		if err != nil {
			return nil, fmt.Errorf("register a consumer for topic %q: %w", topic, err)
		}
		c.ids = append(c.ids, id)
	}
	return c, nil
}

// Messages takes turns over the topics and yields a message of each that has
// one. It ends when nothing came for the idle timeout. If a call fails, Messages
// yields the error and ends; it may be called again to go on.
func (c *Consumer) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		pauses := backoff.NewExponentialBackOff()
		pauses.InitialInterval, pauses.MaxInterval = firstPoll, maxPoll
		last := time.Now()
		for {
			got := false
			for i, topic := range c.topics {
				if c.closed.Load() {
					yield(Message{}, ErrClosed)
					return
				}
				text, err := c.client.Consume(ctx, topic, c.ids[i])
				if errors.Is(err, ErrEmpty) {
					continue
				}
				if err != nil {
					yield(Message{}, fmt.Errorf("consume topic %q: %w", topic, err))
					return
				}
				got, last = true, time.Now()
				if !yield(Message{Topic: topic, Text: text}, nil) {
					return
				}
			}
			if got {
				pauses.Reset()
				continue
			}
			if c.idleTimeout > 0 && time.Since(last) >= c.idleTimeout {
				return
			}
			select {
			case <-time.After(pauses.NextBackOff()):
			case <-ctx.Done():
				yield(Message{}, context.Cause(ctx))
				return
			}
		}
	}
}

// Close ends the use of the consumer. The client stays open.
func (c *Consumer) Close() error {
	c.closed.Store(true)
	return nil
}
