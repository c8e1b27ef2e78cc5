package service

import (
	"context"

	"dq/jetstream"
)

// FollowMessages returns messages of topic, and waits for one until ctx ends.
func (q *Service) FollowMessages(ctx context.Context, topic string, r jetstream.Range) ([]jetstream.Message, error) {
	return q.Topics.ReadWait(ctx, topic, r)
}

// GetMessage returns one message of a topic.
func (q *Service) GetMessage(ctx context.Context, topic string, sequence uint64) (jetstream.Message, error) {
	return q.Topics.Get(ctx, topic, sequence)
}

// Locate is the sequence of the first message at a place, or the one that it is
// going to have.
func (q *Service) Locate(ctx context.Context, topic string, place Start) (uint64, error) {
	there, err := q.Topics.Describe(ctx, topic)
	if err != nil {
		return 0, err
	}
	position, err := q.position(ctx, there, place)
	return position + 1, err
}

// position is the sequence before the first message at a place.
func (q *Service) position(ctx context.Context, topic jetstream.Topic, place Start) (uint64, error) {
	switch {
	case place.New:
		return topic.LastSequence, nil
	case !place.Time.IsZero():
		msgs, err := q.Topics.Read(ctx, topic.Name, jetstream.Range{Since: place.Time, Max: 1, MaxBytes: 1})
		if err != nil || len(msgs) == 0 {
			return topic.LastSequence, err
		}
		return msgs[0].Sequence - 1, nil
	case place.Sequence > 0:
		return place.Sequence - 1, nil
	}
	return 0, nil
}
