package sdk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
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

// A Producer sends messages to the topics for which it registered. Messages to
// one topic keep the order in which one goroutine sent them.
type Producer struct {
	client *Client
	ids    map[string]int64 // by topic
	closed atomic.Bool
}

// NewProducer registers a producer for each of topics, and makes those that are
// not there.
func NewProducer(ctx context.Context, client *Client, topics ...string) (*Producer, error) {
	p := &Producer{client: client, ids: make(map[string]int64, len(topics))}
	for _, topic := range topics {
		if _, ok := p.ids[topic]; ok {
			continue
		}
		id, err := client.RegisterProducer(ctx, topic)
		if err != nil {
			return nil, fmt.Errorf("register a producer for topic %q: %w", topic, err)
		}
		p.ids[topic] = id
	}
	return p, nil
}

// Send appends message to topic; it is stored when Send returns nil. It fails
// with [ErrProducerNotRegistered] for a topic that NewProducer was not given.
func (p *Producer) Send(ctx context.Context, topic, message string) error {
	if p.closed.Load() {
		return ErrClosed
	}
	id, ok := p.ids[topic]
	if !ok {
		return &Error{Code: ErrProducerNotRegistered.Code, Message: fmt.Sprintf("this producer is not registered with topic %q", topic)}
	}
	return p.client.Produce(ctx, topic, id, message)
}

// Close ends the use of the producer. The client stays open.
func (p *Producer) Close() error {
	p.closed.Store(true)
	return nil
}

// CreateTopic makes a topic. It fails with [ErrTopicExists] or
// [ErrInvalidTopicName].
func (c *Client) CreateTopic(ctx context.Context, topic string) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/topics", body: map[string]any{"topic_name": topic}})
}

// Topics returns the names of all topics in the order of their creation.
func (c *Client) Topics(ctx context.Context) ([]string, error) {
	var topics []string
	err := c.do(ctx, call{method: http.MethodGet, path: "/topics", repeatable: true, answer: &answer{Message: &topics}})
	if errors.Is(err, errNoTopics) {
		return nil, nil
	}
	return topics, err
}

// RegisterProducer returns a new producer id for topic, and makes the topic if
// it is not there. It fails with [ErrInvalidTopicName].
func (c *Client) RegisterProducer(ctx context.Context, topic string) (id int64, err error) {
	err = c.do(ctx, call{
		method: http.MethodPost, path: "/producer/register",
		body: map[string]any{"topic": topic}, answer: &answer{ProducerID: &id},
	})
	return id, err
}

// RegisterConsumer returns a new consumer id for topic. The consumer sees what
// is produced from now on. It fails with [ErrTopicNotFound].
func (c *Client) RegisterConsumer(ctx context.Context, topic string) (id int64, err error) {
	err = c.do(ctx, call{
		method: http.MethodPost, path: "/consumer/register",
		body: map[string]any{"topic": topic}, answer: &answer{ConsumerID: &id},
	})
	return id, err
}

// Produce appends message to topic; it is stored when Produce returns nil. It
// fails with [ErrProducerNotFound], [ErrTopicNotFound],
// [ErrProducerNotRegistered] or [ErrMessageTooLarge].
func (c *Client) Produce(ctx context.Context, topic string, producer int64, message string) error {
	return c.do(ctx, call{
		method: http.MethodPost, path: "/producer/produce",
		body: map[string]any{"topic": topic, "producer_id": producer, "message": message},
	})
}

// Consume returns the consumer's next message, which no later call returns
// again. It fails with [ErrEmpty] if nothing is left, [ErrConsumerNotFound],
// [ErrTopicNotFound] or [ErrConsumerNotRegistered].
func (c *Client) Consume(ctx context.Context, topic string, consumer int64) (message string, err error) {
	err = c.do(ctx, call{
		method: http.MethodGet, path: "/consumer/consume",
		query: consumerQuery(topic, consumer), answer: &answer{Message: &message},
	})
	return message, err
}

// Size returns how many messages of topic the consumer has not consumed yet. It
// fails as [Client.Consume] does, without [ErrEmpty].
func (c *Client) Size(ctx context.Context, topic string, consumer int64) (size int64, err error) {
	err = c.do(ctx, call{
		method: http.MethodGet, path: "/size", repeatable: true,
		query: consumerQuery(topic, consumer), answer: &answer{Size: &size},
	})
	return size, err
}

// answer is where the fields of an answer of the classic API go.
type answer struct {
	Message    any    `json:"message"`
	ProducerID *int64 `json:"producer_id"`
	ConsumerID *int64 `json:"consumer_id"`
	Size       *int64 `json:"size"`
}

func consumerQuery(topic string, consumer int64) url.Values {
	return url.Values{"topic": {topic}, "consumer_id": {strconv.FormatInt(consumer, 10)}}
}
