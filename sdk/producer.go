package sdk

import (
	"context"
	"fmt"
	"sync/atomic"
)

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
