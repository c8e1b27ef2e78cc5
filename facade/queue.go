package facade

import (
	"context"
	"errors"

	"dq/jetstream"
	"dq/registry"
)

// Topics are the topics that a facade serves; *jetstream.Topics in a broker.
type Topics interface {
	Create(ctx context.Context, topic string) error
	Names(ctx context.Context) ([]string, error)
	LastSequence(ctx context.Context, topic string) (uint64, error)
	Publish(ctx context.Context, topic string, data []byte) (sequence uint64, err error)
}

// Consumers hand out messages; *jetstream.Consumers in a broker.
type Consumers interface {
	Next(ctx context.Context, consumer jetstream.Consumer) (jetstream.Message, error)
	Size(ctx context.Context, consumer jetstream.Consumer) (uint64, error)
}

// Registry gives out ids; *registry.Registry in a broker.
type Registry interface {
	Register(ctx context.Context, kind registry.Kind, reg registry.Registration) (id int64, err error)
	Lookup(ctx context.Context, kind registry.Kind, id int64) (registry.Registration, error)
}

// A Queue has one method for each operation that clients may ask for.
type Queue struct {
	Topics    Topics
	Consumers Consumers
	Registry  Registry
	// MaxMessageBytes is the largest message, in bytes of UTF-8.
	MaxMessageBytes int
}

// CreateTopic makes a topic.
func (q *Queue) CreateTopic(ctx context.Context, topic string) error {
	return q.Topics.Create(ctx, topic)
}

// ListTopics returns the names of all topics in the order of their creation.
func (q *Queue) ListTopics(ctx context.Context) ([]string, error) {
	return q.Topics.Names(ctx)
}

// RegisterProducer gives out a producer id for topic, and makes the topic if it
// is not there.
func (q *Queue) RegisterProducer(ctx context.Context, topic string) (int64, error) {
	var exists *jetstream.ExistsError
	if err := q.Topics.Create(ctx, topic); err != nil && !errors.As(err, &exists) {
		return 0, err
	}
	return q.Registry.Register(ctx, registry.Producer, registry.Registration{Topic: topic})
}

// RegisterConsumer gives out a consumer id for topic. The consumer sees
// everything that is produced from now on.
func (q *Queue) RegisterConsumer(ctx context.Context, topic string) (int64, error) {
	last, err := q.Topics.LastSequence(ctx, topic)
	if err != nil {
		return 0, err
	}
	return q.Registry.Register(ctx, registry.Consumer, registry.Registration{Topic: topic, Start: last})
}

// Produce appends message to topic. The message is stored when it returns.
func (q *Queue) Produce(ctx context.Context, topic string, producer ID, message string) (sequence uint64, err error) {
	if _, err := q.registration(ctx, registry.Producer, producer, topic); err != nil {
		return 0, err
	}
	if len(message) > q.MaxMessageBytes {
		return 0, &TooLargeError{What: "message", Limit: q.MaxMessageBytes}
	}
	return q.Topics.Publish(ctx, topic, []byte(message))
}

// Consume returns the consumer's next message and moves the consumer behind it
// for good.
func (q *Queue) Consume(ctx context.Context, topic string, consumer ID) (jetstream.Message, error) {
	c, err := q.consumer(ctx, topic, consumer)
	if err != nil {
		return jetstream.Message{}, err
	}
	return q.Consumers.Next(ctx, c)
}

// Size is how many messages of topic the consumer has not consumed yet.
func (q *Queue) Size(ctx context.Context, topic string, consumer ID) (uint64, error) {
	c, err := q.consumer(ctx, topic, consumer)
	if err != nil {
		return 0, err
	}
	return q.Consumers.Size(ctx, c)
}

func (q *Queue) consumer(ctx context.Context, topic string, consumer ID) (jetstream.Consumer, error) {
	reg, err := q.registration(ctx, registry.Consumer, consumer, topic)
	return jetstream.Consumer{ID: consumer.Number, Topic: reg.Topic, Start: reg.Start}, err
}

// registration checks, in this order, that id was given out, that the topic
// exists and that id was given out for it.
func (q *Queue) registration(ctx context.Context, kind registry.Kind, id ID, topic string) (registry.Registration, error) {
	if !id.possible() {
		return registry.Registration{}, &registry.NotFoundError{Kind: kind, ID: id.Text}
	}
	reg, err := q.Registry.Lookup(ctx, kind, id.Number)
	if err != nil || reg.Topic == topic {
		return reg, err
	}
	if _, err := q.Topics.LastSequence(ctx, topic); err != nil {
		return registry.Registration{}, err
	}
	return registry.Registration{}, &NotRegisteredError{Kind: kind, ID: id.Text, Topic: topic}
}
