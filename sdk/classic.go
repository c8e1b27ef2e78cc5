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
)

// defaultIdleTimeout is that of the old client library.
const defaultIdleTimeout = 5 * time.Second

// The pauses between two rounds of [Consumer.Messages] in which no topic had a
// message. They grow from the first to the longest.
const (
	firstPoll = 2 * time.Millisecond
	maxPoll   = 200 * time.Millisecond
)

// A Message is one message that a [Consumer] received.
type Message struct{ Topic, Text string }

// A Consumer receives the messages of the topics for which it registered, each at
// most once and in the order of its topic. It uses the classic API, with one
// message a call. It is safe for concurrent use.
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
// ends; 5 seconds by default, never if timeout is 0.
func WithIdleTimeout(timeout time.Duration) ConsumerOption {
	return func(c *Consumer) { c.idleTimeout = timeout }
}

// NewConsumer registers a consumer with each of topics. It receives messages that
// are produced from now on. Errors: [ErrTopicNotFound], and those of the
// connection.
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

// Messages yields messages until none has come for the idle timeout. It takes
// turns: in each round it yields one message of each topic that has one. If a
// call fails, Messages yields the error and ends; call it again to go on. Errors:
// those of [Client.Consume] but [ErrEmpty], [ErrClosed] after a Close, and the
// cause of ctx when that ends.
func (c *Consumer) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		pauses := newPauses(firstPoll, maxPoll)
		last := time.Now()
		for {
			n, goOn := c.round(ctx, yield)
			if !goOn {
				return
			}
			if n > 0 {
				pauses.reset()
				last = time.Now()
				continue
			}

			if c.idleTimeout > 0 && time.Since(last) >= c.idleTimeout {
				return
			}
			if !pauses.wait(ctx) {
				yield(Message{}, context.Cause(ctx))
				return
			}
		}
	}
}

// round yields one message of each topic that has one, and returns how many
// those were. It returns false if a call failed or the reader wants no more.
func (c *Consumer) round(ctx context.Context, yield func(Message, error) bool) (n int, goOn bool) {
	for i, topic := range c.topics {
		if c.closed.Load() {
			yield(Message{}, ErrClosed)
			return n, false
		}

		text, err := c.client.Consume(ctx, topic, c.ids[i])
		if errors.Is(err, ErrEmpty) {
			continue
		}
		if err != nil {
			yield(Message{}, fmt.Errorf("consume topic %q: %w", topic, err))
			return n, false
		}

		n++
		if !yield(Message{Topic: topic, Text: text}, nil) {
			return n, false
		}
	}
	return n, true
}

// Close makes [Consumer.Messages] end with [ErrClosed] before its next call. The
// client stays open, and the registrations stay. It returns nil.
func (c *Consumer) Close() error {
	c.closed.Store(true)
	return nil
}

// A Producer sends messages to the topics for which it registered. Messages that
// one goroutine sends to one topic keep their order. It uses the classic API, with
// one message a call. It is safe for concurrent use.
type Producer struct {
	client *Client
	ids    map[string]int64 // by topic
	closed atomic.Bool
}

// NewProducer registers a producer with each of topics, and creates topics that
// do not exist. Errors: [ErrInvalidTopicName], and those of the connection.
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

// Send appends message to topic; it is stored when Send returns nil. It is never
// sent twice. Errors: those of [Client.Produce], [ErrProducerNotRegistered] for a
// topic that NewProducer was not given, [ErrClosed].
func (p *Producer) Send(ctx context.Context, topic, message string) error {
	if p.closed.Load() {
		return ErrClosed
	}
	id, ok := p.ids[topic]
	if !ok {
		return &Error{
			Code:    ErrProducerNotRegistered.Code,
			Message: fmt.Sprintf("this producer is not registered with topic %q: give it to NewProducer", topic),
		}
	}
	return p.client.Produce(ctx, topic, id, message)
}

// Close makes all later calls of Send fail with [ErrClosed]. The client stays
// open, and the registrations stay. It returns nil.
func (p *Producer) Close() error {
	p.closed.Store(true)
	return nil
}

// CreateTopic creates a topic with the broker's default settings. Errors:
// [ErrTopicExists], [ErrInvalidTopicName].
func (c *Client) CreateTopic(ctx context.Context, topic string) error {
	body := struct {
		Name string `json:"topic_name"`
	}{topic}
	return c.do(ctx, call{method: http.MethodPost, path: "/topics", body: body})
}

// Topics returns the names of all topics in the order of their creation.
func (c *Client) Topics(ctx context.Context) ([]string, error) {
	var out struct {
		Topics []string `json:"message"`
	}
	err := c.do(ctx, call{method: http.MethodGet, path: "/topics", repeatable: true, answer: &out})
	if errors.Is(err, ErrNoTopics) {
		return nil, nil
	}
	return out.Topics, err
}

// RegisterProducer returns a new producer id for topic, and creates the topic if
// it does not exist. Errors: [ErrInvalidTopicName].
func (c *Client) RegisterProducer(ctx context.Context, topic string) (id int64, err error) {
	var out struct {
		ID int64 `json:"producer_id"`
	}
	err = c.do(ctx, call{
		method: http.MethodPost, path: "/producer/register",
		body: registration{topic}, answer: &out,
	})
	return out.ID, err
}

// RegisterConsumer returns a new consumer id for topic. The consumer receives
// messages that are produced from now on. Errors: [ErrTopicNotFound].
func (c *Client) RegisterConsumer(ctx context.Context, topic string) (id int64, err error) {
	var out struct {
		ID int64 `json:"consumer_id"`
	}
	err = c.do(ctx, call{
		method: http.MethodPost, path: "/consumer/register",
		body: registration{topic}, answer: &out,
	})
	return out.ID, err
}

// registration is the body that registers a producer or consumer.
type registration struct {
	Topic string `json:"topic"`
}

// Produce appends message to topic; it is stored when Produce returns nil. It is
// never sent twice. Errors: [ErrProducerNotFound], [ErrTopicNotFound],
// [ErrProducerNotRegistered], [ErrMessageTooLarge], [ErrTopicFull].
func (c *Client) Produce(ctx context.Context, topic string, producer int64, message string) error {
	body := struct {
		Topic    string `json:"topic"`
		Producer int64  `json:"producer_id"`
		Message  string `json:"message"`
	}{topic, producer, message}
	return c.do(ctx, call{method: http.MethodPost, path: "/producer/produce", body: body})
}

// Consume returns the consumer's next message, which no later call returns
// again. Errors: [ErrEmpty] if no message is left, [ErrConsumerNotFound],
// [ErrTopicNotFound], [ErrConsumerNotRegistered].
func (c *Client) Consume(ctx context.Context, topic string, consumer int64) (message string, err error) {
	var out struct {
		Text string `json:"message"`
	}
	err = c.do(ctx, call{
		method: http.MethodGet, path: "/consumer/consume",
		query: consumerQuery(topic, consumer), answer: &out,
	})
	return out.Text, err
}

// Size returns how many messages of topic the consumer has not consumed yet.
// Errors: those of [Client.Consume] but [ErrEmpty].
func (c *Client) Size(ctx context.Context, topic string, consumer int64) (size int64, err error) {
	var out struct {
		Size int64 `json:"size"`
	}
	err = c.do(ctx, call{
		method: http.MethodGet, path: "/size", repeatable: true,
		query: consumerQuery(topic, consumer), answer: &out,
	})
	return out.Size, err
}

func consumerQuery(topic string, consumer int64) url.Values {
	return url.Values{"topic": {topic}, "consumer_id": {strconv.FormatInt(consumer, 10)}}
}
