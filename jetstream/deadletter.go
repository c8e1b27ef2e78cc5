package jetstream

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// deadLetterRetry is how long a message waits that the dead-letter topic did not take.
const deadLetterRetry = time.Second

// The headers that dq sets on a message in a dead-letter topic. They say where it
// came from. All header names that start with "Nats-" or "Dq-" are reserved.
const (
	deadReasonHeader     = "Dq-Dead-Reason"
	deadTopicHeader      = "Dq-Dead-Topic"
	deadSequenceHeader   = "Dq-Dead-Sequence"
	deadConsumerHeader   = "Dq-Dead-Consumer"
	deadDeliveriesHeader = "Dq-Dead-Deliveries"
)

// deadLetter moves messages that were delivered too often to the dead-letter topic;
// without a dead-letter topic they are dropped. A message that the topic does not take
// waits, and is tried again later: the consumer goes on with others, and its description
// says so. A second copy of a message is stored only if the dead-letter topic's dedup
// window has passed. The topic is not created: that was done with the consumer, and who
// fetches may have no right to bring back what an administrator has deleted.
// Errors: [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) deadLetter(ctx context.Context, consumer Consumer, messages []Delivery) error {
	moved, waiting, err := c.copyDeadLetters(ctx, consumer, messages)
	if err != nil {
		return err
	}
	if len(moved) > 0 {
		if err := c.done(ctx, consumer, moved, termWord); err != nil {
			return err
		}
	}
	return c.say(ctx, consumer, waiting, nakAfter(deadLetterRetry))
}

// copyDeadLetters copies messages to the dead-letter topic. It returns those whose copies
// are on disk, and those that the topic does not take.
func (c *Consumers) copyDeadLetters(
	ctx context.Context, consumer Consumer, messages []Delivery,
) (moved, waiting []delivery, err error) {
	receipts := make([]Receipt, len(messages))
	if consumer.DeadLetterTopic != "" {
		drafts := make([]Draft, len(messages))
		for i := range messages {
			drafts[i] = deadLetterDraft(consumer, &messages[i])
		}
		receipts = c.topics.PublishAll(ctx, consumer.DeadLetterTopic, drafts)
	}

	var refused *DeadLetterError
	for i := range messages {
		t, _ := parseToken(messages[i].Token)
		if err := receipts[i].Err; err != nil {
			refused = &DeadLetterError{Topic: consumer.DeadLetterTopic, Sequence: t.sequence, Err: err}
			waiting = append(waiting, t.delivery)
			continue
		}
		moved = append(moved, t.delivery)
	}
	c.noteDeadLetter(consumer, refused)
	if len(moved) == 0 {
		return nil, waiting, nil
	}
	return moved, waiting, c.topics.opts.sync(ctx)
}

// noteDeadLetter records whether the dead-letter topic of consumer takes messages: refused is nil if it does. It logs a
// change.
func (c *Consumers) noteDeadLetter(consumer Consumer, refused *DeadLetterError) {
	before := c.durable(consumer).deadLetterWaits.Swap(refused)
	if (before == nil) == (refused == nil) {
		return
	}

	log := c.topics.opts.Logger.With("topic", consumer.Topic, "consumer", consumer.Label(),
		"dead_letter_topic", consumer.DeadLetterTopic)
	if refused != nil {
		log.Warn("the dead-letter topic takes no messages: those that were delivered too often wait",
			"error", refused.Err)
		return
	}
	log.Info("the dead-letter topic takes messages again")
}

// deadLetterDraft returns the copy of m for the dead-letter topic.
func deadLetterDraft(consumer Consumer, m *Delivery) Draft {
	headers := map[string]string{
		deadReasonHeader:     "max_deliveries",
		deadTopicHeader:      consumer.Topic,
		deadSequenceHeader:   strconv.FormatUint(m.Sequence, 10),
		deadConsumerHeader:   consumer.Label(),
		deadDeliveriesHeader: strconv.Itoa(min(m.Deliveries, consumer.MaxDeliveries)),
	}
	for name, value := range m.Headers {
		if !ReservedHeader(name) && ValidHeader(name) { // NATS clients may use names that HTTP does not allow
			headers[name] = value
		}
	}

	return Draft{
		Key:         m.Key,
		ContentType: m.ContentType,
		Headers:     headers,
		Data:        m.Data,
		ID:          fmt.Sprintf("%sdead-%d-%d-%d", ReservedIDPrefix, consumer.ID, consumer.Generation, m.Sequence),
	}
}
