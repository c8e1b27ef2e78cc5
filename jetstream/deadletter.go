package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// bury moves a message that was delivered too often to the dead-letter topic,
// or drops it if the consumer has none. Doing it twice is the same as once, as
// long as the dead-letter topic remembers.
func (c *Consumers) bury(ctx context.Context, consumer Consumer, epoch uint64, m Message, deliveries int) error {
	if consumer.DeadLetterTopic == "" {
		return nil
	}
	headers := map[string]string{
		deadReasonHeader:     "max_deliveries",
		deadTopicHeader:      consumer.Topic,
		deadSequenceHeader:   strconv.FormatUint(m.Sequence, 10),
		deadConsumerHeader:   consumer.Label(),
		deadDeliveriesHeader: strconv.Itoa(deliveries),
	}
	for name, value := range m.Headers {
		if !ReservedHeader(name) && ValidHeader(name) { // a NATS client may have been less strict
			headers[name] = value
		}
	}
	draft := Draft{
		Key: m.Key, ContentType: m.ContentType, Headers: headers, Data: m.Data,
		ID: fmt.Sprintf("%sdead-%d-%d-%d", ReservedIDPrefix, consumer.ID, epoch, m.Sequence),
	}
	err := c.topics.PublishAll(ctx, consumer.DeadLetterTopic, []Draft{draft})[0].Err
	var none *TopicNotFoundError
	if errors.As(err, &none) {
		var exists *ExistsError
		if err := c.topics.Create(ctx, consumer.DeadLetterTopic, c.topics.DefaultSettings()); err != nil && !errors.As(err, &exists) {
			return err
		}
		err = c.topics.PublishAll(ctx, consumer.DeadLetterTopic, []Draft{draft})[0].Err
	}
	if err != nil {
		return err
	}
	return c.topics.opts.sync(ctx) // before the lease is given up
}

// The headers that dq itself sets on messages. All names that start with
// "Nats-" or "Dq-" are reserved.
const (
	// What a message in a dead-letter topic says of where it came from.
	deadReasonHeader     = "Dq-Dead-Reason"
	deadTopicHeader      = "Dq-Dead-Topic"
	deadSequenceHeader   = "Dq-Dead-Sequence"
	deadConsumerHeader   = "Dq-Dead-Consumer"
	deadDeliveriesHeader = "Dq-Dead-Deliveries"
)
