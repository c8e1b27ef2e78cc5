package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

const (
	// deadLetterRetry is how long a message waits that the dead-letter topic did not take.
	deadLetterRetry = time.Second

	// deadLetterMessages and deadLetterBytes bound how many messages, and how much of their data, are read to be moved
	// together; the message that reaches the bytes is the last.
	deadLetterMessages = 256
	deadLetterBytes    = 1 << 20
)

// A deadReason says why a message goes to the dead-letter topic.
type deadReason struct {
	code string // deadMaxDeliveries or deadRejected
	text string // of the worker that rejected it; "" for none
}

const (
	deadMaxDeliveries = "max_deliveries"
	deadRejected      = "rejected"
)

// The headers that dq sets on a message in a dead-letter topic. They say where it
// came from. All header names that start with "Nats-" or "Dq-" are reserved.
const (
	deadReasonHeader     = "Dq-Dead-Reason"
	deadTextHeader       = "Dq-Dead-Text"
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
	waiting, err := c.moveToDeadLetters(ctx, consumer, messages, deadReason{code: deadMaxDeliveries})
	var refused *DeadLetterError
	if !errors.As(err, &refused) {
		return err
	}
	return c.say(ctx, consumer, waiting, nakAfter(deadLetterRetry))
}

// moveToDeadLetters moves messages to the dead-letter topic, or drops them if the consumer has none. It returns those
// that the topic does not take, with a [*DeadLetterError]; the others are moved. Other errors:
// [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) moveToDeadLetters(
	ctx context.Context, consumer Consumer, messages []Delivery, reason deadReason,
) (waiting []delivery, err error) {
	moved, waiting, refused := c.copyDeadLetters(ctx, consumer, messages, reason)
	if len(moved) > 0 {
		if err := c.topics.opts.sync(ctx); err != nil {
			return nil, err
		}
		if err := c.done(ctx, consumer, moved, termWord); err != nil {
			return nil, err
		}
		if consumer.DeadLetterTopic == "" {
			c.countDeadDrops(consumer, uint64(len(moved)), reason)
		}
	}
	if refused != nil {
		return waiting, refused
	}
	return nil, nil
}

// copyDeadLetters copies messages to the dead-letter topic. It returns those that are stored there, and those that the
// topic does not take, with the error of the last one. Without a dead-letter topic there is nothing to copy.
func (c *Consumers) copyDeadLetters(
	ctx context.Context, consumer Consumer, messages []Delivery, reason deadReason,
) (moved, waiting []delivery, refused *DeadLetterError) {
	receipts := make([]Receipt, len(messages))
	if consumer.DeadLetterTopic != "" {
		drafts := make([]Draft, len(messages))
		for i := range messages {
			drafts[i] = deadLetterDraft(consumer, &messages[i], reason)
		}
		receipts = c.topics.PublishAll(ctx, consumer.DeadLetterTopic, drafts)
	}

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
	return moved, waiting, refused
}

// countDeadDrops counts messages that a consumer without a dead-letter topic dropped, and logs it.
func (c *Consumers) countDeadDrops(consumer Consumer, messages uint64, reason deadReason) {
	inAll := c.durable(consumer).deadDropped.Add(messages)
	unlogged, now := c.deadDrops.next(messages)
	if !now {
		return
	}
	c.topics.opts.Logger.Warn("messages were dropped, because their consumer has no dead_letter_topic",
		"topic", consumer.Topic, "consumer", consumer.Label(), "reason", reason.code, "messages", messages,
		"since_start", inAll, "not_logged", unlogged)
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
		log.Warn("the dead-letter topic takes no messages: those that were delivered too often, or rejected, wait",
			"error", refused.Err)
		return
	}
	log.Info("the dead-letter topic takes messages again")
}

// deadLetterDraft returns the copy of m for the dead-letter topic.
func deadLetterDraft(consumer Consumer, m *Delivery, reason deadReason) Draft {
	deliveries := m.Deliveries
	if consumer.MaxDeliveries > 0 {
		deliveries = min(deliveries, consumer.MaxDeliveries)
	}
	headers := map[string]string{
		deadReasonHeader:     reason.code,
		deadTopicHeader:      consumer.Topic,
		deadSequenceHeader:   strconv.FormatUint(m.Sequence, 10),
		deadConsumerHeader:   consumer.Label(),
		deadDeliveriesHeader: strconv.Itoa(deliveries),
	}
	if reason.text != "" {
		headers[deadTextHeader] = reason.text
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
