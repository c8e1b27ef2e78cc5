package service

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"dq/jetstream"
)

// RegisterConsumer registers a consumer of topic and returns its id. The consumer
// gets what is produced from now on. Errors: [*jetstream.TopicNotFoundError],
// [*jetstream.UnavailableError].
func (s *Service) RegisterConsumer(ctx context.Context, topic string) (int64, error) {
	c, _, err := s.register(ctx, jetstream.Consumer{Topic: topic}, Start{New: true})
	return c.ID, err
}

// CreateConsumer registers a consumer as spec describes it, which begins at start,
// and returns it with its id. If a consumer of the topic already has the name in spec,
// it returns that consumer, and created is false.
// Errors: [*OtherSettingsError] if the existing consumer differs from spec,
// [*jetstream.TopicNotFoundError], [*jetstream.UnavailableError].
func (s *Service) CreateConsumer(
	ctx context.Context, spec jetstream.Consumer, start Start,
) (_ jetstream.Consumer, created bool, err error) {
	c, created, err := s.register(ctx, spec, start)
	if err != nil {
		return jetstream.Consumer{}, false, err
	}

	spec.ID, spec.Start, spec.TopicCreated = c.ID, c.Start, c.TopicCreated
	spec.Holes, spec.End = c.Holes, c.End
	if c != spec {
		return jetstream.Consumer{}, false, &OtherSettingsError{
			What: "Consumer:" + spec.Name, Remedy: "delete it first, or choose another name",
		}
	}
	return c, created, nil
}

// register registers c, unless the topic has a consumer of its name. The consumer
// begins at start, or at the end of the topic if start is after that. If the topic is
// deleted meanwhile, register removes the registration and repeats it for the topic
// that has the name then.
func (s *Service) register(
	ctx context.Context, c jetstream.Consumer, start Start,
) (_ jetstream.Consumer, created bool, err error) {
	for {
		topic, err := s.Topics.Describe(ctx, c.Topic)
		if err != nil {
			return jetstream.Consumer{}, false, err
		}
		before, err := s.sequenceBefore(ctx, topic, start)
		if err != nil {
			return jetstream.Consumer{}, false, err
		}

		c.TopicCreated = topic.Created.UnixNano()
		if c, err = s.Consumers.StartAt(ctx, c, topic, before); err != nil {
			return jetstream.Consumer{}, false, err
		}
		registered, created, err := s.Registry.RegisterConsumer(ctx, c)
		if err != nil {
			return jetstream.Consumer{}, false, err
		}

		// An older one of the name is of an earlier version, and has no time.
		same := registered.TopicCreated == 0
		if !same {
			same, err = s.isThatOf(ctx, c.Topic, time.Unix(0, registered.TopicCreated))
		}
		if err != nil {
			return jetstream.Consumer{}, false, err
		}
		if same {
			return registered, created, nil
		}
		if err := s.remove(ctx, registered); err != nil {
			return jetstream.Consumer{}, false, err
		}
	}
}

// isThatOf reports whether the topic that was created at that time still exists;
// another one may have its name.
func (s *Service) isThatOf(ctx context.Context, topic string, created time.Time) (bool, error) {
	t, err := s.Topics.Describe(ctx, topic)
	var none *jetstream.TopicNotFoundError
	if errors.As(err, &none) {
		return false, nil
	}
	return t.Created.Equal(created), err
}

// FindConsumer returns the consumer of topic whose name or id is label.
// Errors: [*jetstream.TopicNotFoundError], [*jetstream.ConsumerNotFoundError],
// [*jetstream.UnavailableError].
func (s *Service) FindConsumer(ctx context.Context, topic, label string) (c jetstream.Consumer, err error) {
	id, parseErr := strconv.ParseInt(label, 10, 64)
	if parseErr != nil || strings.HasPrefix(label, "+") {
		c, err = s.Registry.ConsumerByName(ctx, topic, label)
	} else {
		c, err = s.consumer(ctx, topic, ID{Number: id, Text: label})
	}
	if err == nil {
		return c, nil
	}

	// If the topic does not exist, that error says more. The topic is looked up only
	// now, because a consumer that exists has a topic.
	if _, err := s.Topics.LastSequence(ctx, topic); err != nil {
		return jetstream.Consumer{}, err
	}
	var other *ConsumerNotRegisteredError
	if errors.As(err, &other) {
		err = &jetstream.ConsumerNotFoundError{Consumer: label}
	}
	return jetstream.Consumer{}, err
}

// consumer returns the consumer of topic that has an id. It checks, in this order,
// that the id was given out, that the topic exists, and that the id was given out
// for it.
func (s *Service) consumer(ctx context.Context, topic string, id ID) (jetstream.Consumer, error) {
	if !id.Possible() {
		return jetstream.Consumer{}, &jetstream.ConsumerNotFoundError{Consumer: id.Text}
	}
	c, err := s.Registry.Consumer(ctx, id.Number)
	if err != nil || c.Topic == topic {
		return c, err
	}
	if _, err := s.Topics.LastSequence(ctx, topic); err != nil {
		return jetstream.Consumer{}, err
	}
	return jetstream.Consumer{}, &ConsumerNotRegisteredError{Consumer: id.Text, Topic: topic, OtherTopic: c.Topic}
}

// ListConsumers returns the consumers of topic in the order of their ids.
// Errors: [*jetstream.TopicNotFoundError], [*jetstream.UnavailableError].
func (s *Service) ListConsumers(ctx context.Context, topic string) ([]jetstream.Consumer, error) {
	if _, err := s.Topics.LastSequence(ctx, topic); err != nil {
		return nil, err
	}
	return s.Registry.ListConsumers(ctx, topic)
}

// DeleteConsumer deletes the consumer of topic whose name or id is label. Its id is never
// given out again. If an earlier call stopped before it had done everything, DeleteConsumer
// does the rest. Errors: those of [Service.FindConsumer].
func (s *Service) DeleteConsumer(ctx context.Context, topic, label string) error {
	c, missing := s.FindConsumer(ctx, topic, label)
	var deleted *jetstream.ConsumerNotFoundError
	if errors.As(missing, &deleted) && deleted.Deleted && deleted.Topic == topic {
		id, err := strconv.ParseInt(deleted.Consumer, 10, 64)
		if err != nil {
			return missing
		}
		c = jetstream.Consumer{ID: id, Topic: topic}
	} else if missing != nil {
		return missing
	}

	if err := s.remove(ctx, c); err != nil {
		return err
	}
	return missing
}

// remove deletes a consumer, if it exists. It first marks the entry of its id, and from then on the consumer is
// deleted. The order of the other steps lets a repeated call find what is left to do.
func (s *Service) remove(ctx context.Context, c jetstream.Consumer) error {
	if err := ignoreGone(s.Registry.RemoveConsumer(ctx, c.ID)); err != nil {
		return err
	}
	if err := s.Consumers.Remove(ctx, c); err != nil {
		return err
	}
	return s.Registry.FreeName(ctx, c.ID)
}

// Consume returns the next message of a consumer and advances the consumer past
// it. Errors: [*jetstream.ConsumerNotFoundError], [*ConsumerNotRegisteredError],
// and those of [jetstream.Consumers.Next].
func (s *Service) Consume(ctx context.Context, topic string, consumer ID) (jetstream.Message, error) {
	c, err := s.consumer(ctx, topic, consumer)
	if err != nil {
		return jetstream.Message{}, err
	}
	return s.Consumers.Next(ctx, c)
}

// Size returns how many messages of topic a consumer has not consumed yet.
// Errors: [*jetstream.ConsumerNotFoundError], [*ConsumerNotRegisteredError],
// and those of [jetstream.Consumers.State].
func (s *Service) Size(ctx context.Context, topic string, consumer ID) (uint64, error) {
	c, err := s.consumer(ctx, topic, consumer)
	if err != nil {
		return 0, err
	}
	state, err := s.Consumers.State(ctx, c)
	return state.Lag + state.InFlight, err
}

// Seek moves a consumer to a start, but not after the end of its topic.
// Errors: [*jetstream.TopicNotFoundError], and those of [jetstream.Consumers.Seek].
func (s *Service) Seek(ctx context.Context, consumer jetstream.Consumer, to Start) error {
	topic, err := s.Topics.Describe(ctx, consumer.Topic)
	if err != nil {
		return err
	}
	before, err := s.sequenceBefore(ctx, topic, to)
	if err != nil {
		return err
	}
	return s.Consumers.Seek(ctx, consumer, min(before, topic.LastSequence))
}

// TakeOver returns the number of a new stream of consumer, which alone gets its
// messages from now on: streams that were opened before end. Last is the sequence
// of the last message that the client got; if it is not nil, the consumer
// continues after it. Errors: [*jetstream.TopicNotFoundError], and those of
// [jetstream.Consumers.TakeOver].
func (s *Service) TakeOver(ctx context.Context, consumer jetstream.Consumer, last *uint64) (stream uint64, err error) {
	if last != nil {
		end, err := s.Topics.LastSequence(ctx, consumer.Topic)
		if err != nil {
			return 0, err
		}
		last = new(min(*last, end))
	}
	return s.Consumers.TakeOver(ctx, consumer, last)
}
