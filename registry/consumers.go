package registry

import (
	"context"
	"errors"

	"dq/jetstream"
)

// RegisterConsumer stores c under a new id, the smallest that was not given out
// yet, and returns it with that id. If c has a name that a consumer of its topic
// has already, it returns that one instead, and created is false. The consumer is
// stored when RegisterConsumer returns. Errors: [*jetstream.UnavailableError].
func (r *Registry) RegisterConsumer(
	ctx context.Context, c jetstream.Consumer,
) (_ jetstream.Consumer, created bool, err error) {
	if c.Name != "" {
		return r.registerName(ctx, c)
	}
	c.ID, err = r.create(ctx, consumer, record{Consumer: c})
	return c, err == nil, err
}

// Consumer returns the consumer with an id. It finds one that another process
// registered a moment ago, too.
// Errors: [*jetstream.ConsumerNotFoundError], [*jetstream.UnavailableError].
func (r *Registry) Consumer(ctx context.Context, id int64) (jetstream.Consumer, error) {
	rec, err := r.lookup(ctx, entryID{consumer, id})
	return rec.Consumer, err
}

// ListConsumers returns the consumers of topic in the order of their ids.
// Errors: [*jetstream.UnavailableError].
func (r *Registry) ListConsumers(ctx context.Context, topic string) ([]jetstream.Consumer, error) {
	if err := r.catchUp(ctx); err != nil {
		return nil, err
	}

	var consumers []jetstream.Consumer
	for _, id := range r.index.list(consumer, topic) {
		c, err := r.Consumer(ctx, id)
		var deleted *jetstream.ConsumerNotFoundError
		switch {
		case err == nil:
			consumers = append(consumers, c)
		case !errors.As(err, &deleted): // one that was deleted since is left out
			return nil, err
		}
	}
	return consumers, nil
}

// Count returns how many consumers and producers topic has.
// Errors: [*jetstream.UnavailableError].
func (r *Registry) Count(ctx context.Context, topic string) (consumers, producers int, err error) {
	if err := r.catchUp(ctx); err != nil {
		return 0, 0, err
	}
	return r.index.count(consumer, topic), r.index.count(producer, topic), nil
}

// CountConsumers returns how many consumers the topics have for which include is
// true. Errors: [*jetstream.UnavailableError].
func (r *Registry) CountConsumers(ctx context.Context, include func(topic string) bool) (int, error) {
	if err := r.catchUp(ctx); err != nil {
		return 0, err
	}
	return r.index.countAll(consumer, include), nil
}

// ConsumerStarts returns every consumer, in no order, with no more than its id,
// topic and start: that much is in memory. Errors: [*jetstream.UnavailableError].
func (r *Registry) ConsumerStarts(ctx context.Context) ([]jetstream.Consumer, error) {
	if err := r.catchUp(ctx); err != nil {
		return nil, err
	}
	return r.index.consumers(), nil
}

// Left is what is registered for a topic: its producers and, with no more than their id,
// topic and start, its consumers.
type Left struct {
	Producers []Producer
	Consumers []jetstream.Consumer
}

// Left returns what is registered for topic. It reads no entries, and so it is cheap where
// there is nothing. Errors: [*jetstream.UnavailableError].
func (r *Registry) Left(ctx context.Context, topic string) (left Left, err error) {
	if err := r.catchUp(ctx); err != nil {
		return Left{}, err
	}
	for _, id := range r.index.list(producer, topic) {
		left.Producers = append(left.Producers, Producer{ID: id, Topic: topic})
	}
	return Left{Producers: left.Producers, Consumers: r.index.consumersOf(topic)}, nil
}

// Topics returns the topics for which anything is registered, in no order.
// Errors: [*jetstream.UnavailableError].
func (r *Registry) Topics(ctx context.Context) ([]string, error) {
	if err := r.catchUp(ctx); err != nil {
		return nil, err
	}
	return r.index.topics(), nil
}

// RemoveConsumer deletes the consumer with an id. The id is never given out again. A name
// of the consumer is free from then on; [Registry.FreeName] removes what is left of it.
// Errors: [*jetstream.ConsumerNotFoundError], [*jetstream.UnavailableError].
func (r *Registry) RemoveConsumer(ctx context.Context, id int64) error {
	return r.remove(ctx, entryID{consumer, id})
}
