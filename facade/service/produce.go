package service

import (
	"context"
	"time"

	"dq/jetstream"
	"dq/registry"
)

// RegisterProducer gives out a producer id for topic, and makes the topic if it
// is not there.
func (q *Service) RegisterProducer(ctx context.Context, topic string) (int64, error) {
	if err := q.HaveTopic(ctx, topic); err != nil {
		return 0, err
	}
	return q.Registry.Register(ctx, registry.Producer, registry.Registration{Topic: topic})
}

// Produce appends message to topic. The message is stored when it returns.
func (q *Service) Produce(ctx context.Context, topic string, producer ID, message []byte) error {
	if _, err := q.registration(ctx, registry.Producer, producer, topic); err != nil {
		return err
	}
	if len(message) > q.MaxMessageBytes {
		return &TooLargeError{Limit: q.MaxMessageBytes}
	}
	return q.Topics.Publish(ctx, topic, message)
}

// A Batch is messages to produce.
type Batch struct {
	Drafts []jetstream.Draft
	// Atomic stores all of them or none.
	Atomic bool
	// ExpectedLast is what the topic's last sequence has to be; nil is any.
	ExpectedLast *uint64
}

// ProduceBatch appends messages to topic and returns a receipt for each. Each
// that has no error in its receipt is stored. An error is that of all: none is
// stored, unless it says that this is unknown.
func (q *Service) ProduceBatch(ctx context.Context, topic string, batch Batch) ([]jetstream.Receipt, error) {
	if len(batch.Drafts) == 0 {
		return nil, &jetstream.BatchError{Problem: "there is no message to produce"}
	}
	now := time.Now()
	delayed := 0
	for i, draft := range batch.Drafts {
		if len(draft.Data) > q.MaxMessageBytes {
			err := &TooLargeError{Limit: q.MaxMessageBytes}
			if len(batch.Drafts) == 1 {
				return nil, err
			}
			return nil, &ItemError{"message", i, err}
		}
		if draft.At.After(now) {
			delayed++
		}
	}
	switch {
	case delayed > 0 && (batch.Atomic || batch.ExpectedLast != nil):
		return nil, &jetstream.BatchError{Problem: "a delayed message can be neither in an atomic batch nor have an expected last sequence"}
	case delayed > 0:
		return q.produceDelayed(ctx, topic, batch.Drafts, now)
	case batch.Atomic || batch.ExpectedLast != nil:
		if len(batch.Drafts) > 1 && !batch.Atomic {
			return nil, &jetstream.BatchError{Problem: "an expected last sequence needs one message, or an atomic batch"}
		}
		return q.Topics.PublishAtomically(ctx, topic, batch.Drafts, batch.ExpectedLast)
	}
	return q.Topics.PublishAll(ctx, topic, batch.Drafts), nil
}

// produceDelayed produces what is to be stored now and later, in order.
func (q *Service) produceDelayed(ctx context.Context, topic string, drafts []jetstream.Draft, now time.Time) ([]jetstream.Receipt, error) {
	var soon, late []jetstream.Draft
	for _, draft := range drafts {
		if draft.At.After(now) {
			late = append(late, draft)
		} else {
			soon = append(soon, draft)
		}
	}
	later, err := q.Delayer.Delay(ctx, topic, late)
	if err != nil {
		return nil, err
	}
	var stored []jetstream.Receipt
	if len(soon) > 0 {
		stored = q.Topics.PublishAll(ctx, topic, soon)
	}
	receipts := make([]jetstream.Receipt, len(drafts))
	for i, draft := range drafts {
		from := &stored
		if draft.At.After(now) {
			from = &later
		}
		receipts[i], *from = (*from)[0], (*from)[1:]
	}
	return receipts, nil
}
