package registry

import (
	"context"

	"dq/jetstream"
)

// A Producer is a client that was registered to produce to a topic.
type Producer struct {
	ID    int64
	Topic string
}

// RegisterProducer stores a producer of topic under a new id, the smallest that
// was not given out yet. It is stored when RegisterProducer returns.
// Errors: [*jetstream.UnavailableError].
func (r *Registry) RegisterProducer(ctx context.Context, topic string) (Producer, error) {
	id, err := r.create(ctx, producer, record{Consumer: jetstream.Consumer{Topic: topic}})
	return Producer{ID: id, Topic: topic}, err
}

// Producer returns the producer with an id. It finds one that another process
// registered a moment ago, too.
// Errors: [*ProducerNotFoundError], [*jetstream.UnavailableError].
func (r *Registry) Producer(ctx context.Context, id int64) (Producer, error) {
	rec, err := r.lookup(ctx, entryID{producer, id})
	if err != nil {
		return Producer{}, err
	}
	return Producer{ID: id, Topic: rec.Topic}, nil
}

// ListProducers returns the producers of topic in the order of their ids.
// Errors: [*jetstream.UnavailableError].
func (r *Registry) ListProducers(ctx context.Context, topic string) ([]Producer, error) {
	if err := r.catchUp(ctx); err != nil {
		return nil, err
	}
	var producers []Producer
	for _, id := range r.index.list(producer, topic) {
		producers = append(producers, Producer{ID: id, Topic: topic})
	}
	return producers, nil
}

// RemoveProducer deletes the producer with an id. The id is never given out again.
// Errors: [*ProducerNotFoundError], [*jetstream.UnavailableError].
func (r *Registry) RemoveProducer(ctx context.Context, id int64) error {
	return r.remove(ctx, entryID{producer, id})
}
