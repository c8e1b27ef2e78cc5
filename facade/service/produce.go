package service

import (
	"context"
	"errors"
	"time"

	"dq/jetstream"
	"dq/registry"
)

// RegisterProducer registers a producer of topic and returns its id. It creates
// the topic, with the default settings, if the topic does not exist. If the topic is
// deleted meanwhile, RegisterProducer starts over.
// Errors: [*jetstream.NameError], [*jetstream.UnavailableError].
func (s *Service) RegisterProducer(ctx context.Context, topic string) (int64, error) {
	for {
		created, err := s.ensureCreated(ctx, topic)
		if err != nil {
			return 0, err
		}
		p, err := s.Registry.RegisterProducer(ctx, topic)
		if err != nil {
			return 0, err
		}

		same, err := s.isThatOf(ctx, topic, created)
		if err != nil {
			return 0, err
		}
		if same {
			return p.ID, nil
		}
		if err := ignoreGone(s.Registry.RemoveProducer(ctx, p.ID)); err != nil {
			return 0, err
		}
	}
}

// ensureCreated creates topic if it does not exist, and returns when it was created.
func (s *Service) ensureCreated(ctx context.Context, topic string) (time.Time, error) {
	for {
		if err := s.CreateTopicIfMissing(ctx, topic); err != nil {
			return time.Time{}, err
		}
		t, err := s.Topics.Describe(ctx, topic)
		var none *jetstream.TopicNotFoundError
		if !errors.As(err, &none) { // otherwise it was deleted in between
			return t.Created, err
		}
	}
}

// Produce appends message to topic. The message is stored when Produce returns.
// Errors: [*registry.ProducerNotFoundError], [*ProducerNotRegisteredError], and
// those of [jetstream.Topics.Publish].
func (s *Service) Produce(ctx context.Context, topic string, producer ID, message []byte) error {
	if err := s.checkProducer(ctx, topic, producer); err != nil {
		return err
	}
	if len(message) > s.MaxMessageBytes {
		return &jetstream.MessageTooLargeError{Limit: s.MaxMessageBytes}
	}
	return s.Topics.Publish(ctx, topic, message)
}

// checkProducer checks, in this order, that id was given out, that topic exists,
// and that id was given out for it.
func (s *Service) checkProducer(ctx context.Context, topic string, id ID) error {
	if !id.Possible() {
		return &registry.ProducerNotFoundError{Producer: id.Text}
	}
	p, err := s.Registry.Producer(ctx, id.Number)
	if err != nil || p.Topic == topic {
		return err
	}
	if _, err := s.Topics.LastSequence(ctx, topic); err != nil {
		return err
	}
	return &ProducerNotRegisteredError{Producer: id.Text, Topic: topic, OtherTopic: p.Topic}
}

// A Batch is messages to produce.
type Batch struct {
	Drafts []jetstream.Draft
	// Atomic stores all of them or none.
	Atomic bool
	// ExpectedLast is what the topic's last sequence must be; nil allows any.
	ExpectedLast *uint64
}

// ProduceBatch appends messages to topic and returns a receipt for each. A message
// is stored if its receipt has no error. If ProduceBatch returns an error, no
// message is stored, except that a [*jetstream.UnavailableError] can mean that this is
// unknown. Other errors: [*jetstream.BatchError], [*jetstream.MessageTooLargeError]
// in an [*ItemError] if there are several messages, and those of
// [jetstream.Delayer.PublishAtomically] and [jetstream.Delayer.Delay].
func (s *Service) ProduceBatch(ctx context.Context, topic string, batch Batch) ([]jetstream.Receipt, error) {
	if len(batch.Drafts) == 0 {
		return nil, &jetstream.BatchError{Problem: "there is no message to produce"}
	}
	if err := s.checkSizes(batch.Drafts); err != nil {
		return nil, err
	}

	now := time.Now()
	conditional := batch.Atomic || batch.ExpectedLast != nil
	switch delayed := anyDelayed(batch.Drafts, now); {
	case delayed && conditional:
		return nil, &jetstream.BatchError{
			Problem: "a delayed message can be neither in an atomic batch nor have an expected last sequence",
		}
	case delayed:
		return s.produceDelayed(ctx, topic, batch.Drafts, now)
	case conditional && len(batch.Drafts) > 1 && !batch.Atomic:
		return nil, &jetstream.BatchError{Problem: "an expected last sequence needs one message, or an atomic batch"}
	case conditional:
		return s.Delayer.PublishAtomically(ctx, topic, batch.Drafts, batch.ExpectedLast)
	}
	return s.Delayer.PublishAll(ctx, topic, batch.Drafts), nil
}

// checkSizes refuses a message above the broker's limit.
func (s *Service) checkSizes(drafts []jetstream.Draft) error {
	for i, draft := range drafts {
		if len(draft.Data) <= s.MaxMessageBytes {
			continue
		}
		err := &jetstream.MessageTooLargeError{Limit: s.MaxMessageBytes}
		if len(drafts) == 1 {
			return err
		}
		return &ItemError{What: "message", Index: i, Err: err}
	}
	return nil
}

// anyDelayed reports whether a message is to be stored later than now.
func anyDelayed(drafts []jetstream.Draft, now time.Time) bool {
	for _, draft := range drafts {
		if draft.At.After(now) {
			return true
		}
	}
	return false
}

// produceDelayed produces drafts of which some are to be stored now and some
// later. The receipts are in the order of the drafts.
func (s *Service) produceDelayed(
	ctx context.Context, topic string, drafts []jetstream.Draft, now time.Time,
) ([]jetstream.Receipt, error) {
	var immediate, delayed []jetstream.Draft
	for _, draft := range drafts {
		if draft.At.After(now) {
			delayed = append(delayed, draft)
		} else {
			immediate = append(immediate, draft)
		}
	}

	// The delayed ones first: if they fail as a whole, nothing was stored.
	waiting, err := s.Delayer.Delay(ctx, topic, delayed)
	if err != nil {
		return nil, err
	}
	var stored []jetstream.Receipt
	if len(immediate) > 0 {
		stored = s.Delayer.PublishAll(ctx, topic, immediate)
	}

	receipts := make([]jetstream.Receipt, len(drafts))
	for i, draft := range drafts {
		if draft.At.After(now) {
			receipts[i], waiting = waiting[0], waiting[1:]
		} else {
			receipts[i], stored = stored[0], stored[1:]
		}
	}
	return receipts, nil
}
