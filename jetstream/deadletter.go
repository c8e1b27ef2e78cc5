package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// The headers that dq sets on a message in a dead-letter topic. They say where it
// came from. All header names that start with "Nats-" or "Dq-" are reserved.
const (
	deadReasonHeader     = "Dq-Dead-Reason"
	deadTopicHeader      = "Dq-Dead-Topic"
	deadSequenceHeader   = "Dq-Dead-Sequence"
	deadConsumerHeader   = "Dq-Dead-Consumer"
	deadDeliveriesHeader = "Dq-Dead-Deliveries"
)

// deadLetter copies a message that was delivered too often to the dead-letter topic;
// without a dead-letter topic it does nothing, and the message is dropped. A second
// copy of the same message is stored only if the dead-letter topic's dedup window has
// passed. It does not create the topic: that was done with the consumer, and who
// fetches may have no right to bring back what an administrator has deleted.
func (c *Consumers) deadLetter(
	ctx context.Context, consumer Consumer, epoch uint64, m Message, deliveries int,
) error {
	if consumer.DeadLetterTopic == "" {
		return nil
	}

	draft := deadLetterDraft(consumer, epoch, m, deliveries)
	err := c.topics.PublishAll(ctx, consumer.DeadLetterTopic, []Draft{draft})[0].Err
	var notFound *TopicNotFoundError
	switch {
	case errors.As(err, &notFound): // not passed on: it is not the consumer's own topic that does not exist
		return errors.New(notFound.Error() + ": create it, or delete the consumer")
	case err != nil:
		return err
	}

	// The copy must be on disk before the lease is given up.
	return c.topics.opts.sync(ctx)
}

// logDeadLetter logs that a consumer's dead-letter topic takes no messages, once until it takes one again.
func (c *Consumers) logDeadLetter(consumer Consumer, s *consumerState, err error) {
	if s.deadLettersWait == (err != nil) {
		return
	}
	s.deadLettersWait = err != nil

	log := c.topics.opts.Logger.With("topic", consumer.Topic, "consumer", consumer.Label(),
		"dead_letter_topic", consumer.DeadLetterTopic)
	if err != nil {
		log.Warn("the dead-letter topic takes no messages: those that were delivered too often wait", "error", err)
		return
	}
	log.Info("the dead-letter topic takes messages again")
}

// deadLetterDraft returns the copy of m for the dead-letter topic.
func deadLetterDraft(consumer Consumer, epoch uint64, m Message, deliveries int) Draft {
	headers := map[string]string{
		deadReasonHeader:     "max_deliveries",
		deadTopicHeader:      consumer.Topic,
		deadSequenceHeader:   strconv.FormatUint(m.Sequence, 10),
		deadConsumerHeader:   consumer.Label(),
		deadDeliveriesHeader: strconv.Itoa(deliveries),
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
		ID:          fmt.Sprintf("%sdead-%d-%d-%d", ReservedIDPrefix, consumer.ID, epoch, m.Sequence),
	}
}
