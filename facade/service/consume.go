package service

import (
	"context"

	"dq/jetstream"
)

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
