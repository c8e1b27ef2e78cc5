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

// deadLetter copies a message that was delivered too often to the dead-letter topic,
// and creates that topic if it does not exist. If the consumer has no dead-letter
// topic, it does nothing, and the message is dropped. A second copy of the same message is stored only if
// the dead-letter topic's dedup window has passed.
func (c *Consumers) deadLetter(
	ctx context.Context, consumer Consumer, epoch uint64, m Message, deliveries int,
) error {
	if consumer.DeadLetterTopic == "" {
		return nil
	}
	draft := deadLetterDraft(consumer, epoch, m, deliveries)

	err := c.topics.PublishAll(ctx, consumer.DeadLetterTopic, []Draft{draft})[0].Err
	var notFound *TopicNotFoundError
	if errors.As(err, &notFound) {
		err = c.topics.Create(ctx, consumer.DeadLetterTopic, c.topics.DefaultSettings())
		var exists *ExistsError
		if err != nil && !errors.As(err, &exists) {
			return err
		}
		err = c.topics.PublishAll(ctx, consumer.DeadLetterTopic, []Draft{draft})[0].Err
	}
	if err != nil {
		return err
	}

	// The copy must be on disk before the lease is given up.
	return c.topics.opts.sync(ctx)
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
