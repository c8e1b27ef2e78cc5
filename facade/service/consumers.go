package service

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"dq/jetstream"
	"dq/registry"
)

// RegisterConsumer gives out a consumer id for topic. The consumer sees
// everything that is produced from now on.
func (q *Service) RegisterConsumer(ctx context.Context, topic string) (int64, error) {
	entry, _, err := q.subscribe(ctx, registry.Registration{Topic: topic}, Start{New: true})
	return entry.ID, err
}

// subscribe registers a consumer from start on, but not from further than the end
// of the topic, unless one of its name is there. It is for the topic that there is:
// if that is deleted meanwhile, the registration is taken back, and made for the
// one that has the name then.
func (q *Service) subscribe(ctx context.Context, reg registry.Registration, start Start) (entry registry.Entry, created bool, err error) {
	for {
		there, err := q.Topics.Describe(ctx, reg.Topic)
		if err != nil {
			return registry.Entry{}, false, err
		}
		reg.Born = there.Created.UnixNano()
		position, err := q.position(ctx, there, start)
		if err != nil {
			return registry.Entry{}, false, err
		}
		reg.Start = min(position, there.LastSequence)
		if reg.Name != "" {
			entry, created, err = q.Registry.RegisterName(ctx, reg)
		} else {
			entry.Registration, created = reg, true
			entry.ID, err = q.Registry.Register(ctx, registry.Consumer, reg)
		}
		if err != nil {
			return registry.Entry{}, false, err
		}
		now, err := q.Topics.Describe(ctx, reg.Topic)
		var gone *jetstream.NotFoundError
		if err != nil && !errors.As(err, &gone) {
			return registry.Entry{}, false, err
		}
		if err == nil && (entry.Born == now.Created.UnixNano() || entry.Born == 0) {
			return entry, created, nil
		}
		if err := q.remove(ctx, registry.Consumer, entry); err != nil {
			return registry.Entry{}, false, err
		}
	}
}

// CreateConsumer registers a consumer with what spec says, from start on. One
// that has a name is registered once: if it is there, it has to have the same
// settings.
func (q *Service) CreateConsumer(ctx context.Context, spec jetstream.Consumer, start Start) (_ jetstream.Consumer, created bool, err error) {
	reg := registry.Registration{
		Topic: spec.Topic, Name: spec.Name, Key: spec.Key,
		Lease: spec.Lease, MaxInFlight: spec.MaxInFlight, MaxDeliveries: spec.MaxDeliveries, DeadLetterTopic: spec.DeadLetterTopic,
	}
	entry, created, err := q.subscribe(ctx, reg, start)
	if err != nil {
		return spec, false, err
	}
	reg.Start, reg.Born = entry.Start, entry.Born
	if entry.Registration != reg {
		return spec, false, &OtherSettingsError{What: "Consumer:" + spec.Name, Remedy: "delete it first, or choose another name"}
	}
	return consumerOf(entry), created, nil
}

// FindConsumer returns the consumer of topic that a client calls by its name or
// its id.
func (q *Service) FindConsumer(ctx context.Context, topic, label string) (c jetstream.Consumer, err error) {
	id, notNumber := strconv.ParseInt(label, 10, 64)
	if notNumber != nil || strings.HasPrefix(label, "+") {
		var entry registry.Entry
		entry, err = q.Registry.LookupName(ctx, topic, label)
		c = consumerOf(entry)
	} else {
		c, err = q.consumer(ctx, topic, ID{Number: id, Text: label})
	}
	if err == nil {
		return c, nil
	}
	var other *NotRegisteredError
	if errors.As(err, &other) {
		err = &registry.NotFoundError{Kind: registry.Consumer, ID: label}
	}
	// That the topic is not there says more. It is looked up only now, as a
	// consumer that is there has one.
	if _, none := q.Topics.LastSequence(ctx, topic); none != nil {
		err = none
	}
	return jetstream.Consumer{}, err
}

// ListConsumers returns the consumers of a topic in the order of their ids.
func (q *Service) ListConsumers(ctx context.Context, topic string) ([]jetstream.Consumer, error) {
	if _, err := q.Topics.LastSequence(ctx, topic); err != nil {
		return nil, err
	}
	entries, err := q.Registry.List(ctx, registry.Consumer, topic)
	consumers := make([]jetstream.Consumer, len(entries))
	for i, entry := range entries {
		consumers[i] = consumerOf(entry)
	}
	return consumers, err
}

// CountConsumers is how many consumers there are of the topics for which of is
// true.
func (q *Service) CountConsumers(ctx context.Context, of func(topic string) bool) (int, error) {
	return q.Registry.CountAll(ctx, registry.Consumer, of)
}

// DeleteConsumer removes a consumer. Its id is never given again.
func (q *Service) DeleteConsumer(ctx context.Context, consumer jetstream.Consumer) error {
	return q.remove(ctx, registry.Consumer, registry.Entry{ID: consumer.ID, Registration: registry.Registration{Topic: consumer.Topic}})
}

// Consume returns the consumer's next message and moves the consumer behind it
// for good.
func (q *Service) Consume(ctx context.Context, topic string, consumer ID) (jetstream.Message, error) {
	c, err := q.consumer(ctx, topic, consumer)
	if err != nil {
		return jetstream.Message{}, err
	}
	return q.Consumers.Next(ctx, c)
}

// Size is how many messages of topic the consumer has not consumed yet.
func (q *Service) Size(ctx context.Context, topic string, consumer ID) (uint64, error) {
	c, err := q.consumer(ctx, topic, consumer)
	if err != nil {
		return 0, err
	}
	state, err := q.Consumers.State(ctx, c)
	return state.Lag + state.InFlight, err
}

// Fetch hands out messages of a consumer, and waits for one until ctx ends.
func (q *Service) Fetch(ctx context.Context, consumer jetstream.Consumer, limits jetstream.Limits) ([]jetstream.Delivery, error) {
	return q.Consumers.FetchWait(ctx, consumer, limits)
}

// Seek moves a consumer to a place.
func (q *Service) Seek(ctx context.Context, consumer jetstream.Consumer, to Start) error {
	there, err := q.Topics.Describe(ctx, consumer.Topic)
	if err != nil {
		return err
	}
	position, err := q.position(ctx, there, to)
	if err != nil {
		return err
	}
	return q.Consumers.Seek(ctx, consumer, min(position, there.LastSequence))
}

// TakeOver has a stream of consumer take over from those before it.
func (q *Service) TakeOver(ctx context.Context, consumer jetstream.Consumer, last *uint64) (stream uint64, err error) {
	if last != nil {
		end, err := q.Topics.LastSequence(ctx, consumer.Topic)
		if err != nil {
			return 0, err
		}
		last = new(min(*last, end))
	}
	return q.Consumers.TakeOver(ctx, consumer, last)
}

// ConsumerState is how far a consumer is.
func (q *Service) ConsumerState(ctx context.Context, consumer jetstream.Consumer) (jetstream.State, error) {
	return q.Consumers.State(ctx, consumer)
}

// Pause keeps a consumer from getting messages until a time.
func (q *Service) Pause(ctx context.Context, consumer jetstream.Consumer, until time.Time) error {
	return q.Consumers.Pause(ctx, consumer, until)
}

func (q *Service) consumer(ctx context.Context, topic string, id ID) (jetstream.Consumer, error) {
	reg, err := q.registration(ctx, registry.Consumer, id, topic)
	return consumerOf(registry.Entry{ID: id.Number, Registration: reg}), err
}

func consumerOf(e registry.Entry) jetstream.Consumer {
	return jetstream.Consumer{
		ID: e.ID, Name: e.Name, Topic: e.Topic, Start: e.Start, Key: e.Key,
		Lease: e.Lease, MaxInFlight: e.MaxInFlight, MaxDeliveries: e.MaxDeliveries, DeadLetterTopic: e.DeadLetterTopic,
	}
}
