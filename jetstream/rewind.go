package jetstream

import (
	"context"
	"maps"
	"slices"
)

// Rewind moves those of consumers that stand after the last message of their topic
// back to it, and returns how many it moved: a power cut may take the newest messages
// of a topic, and the next ones get their sequences. Call it before anything is
// stored, and only where no other process reaches the engine. Errors: [*UnavailableError].
func (c *Consumers) Rewind(ctx context.Context, consumers []Consumer) (rewound int, err error) {
	last, err := c.lastSequences(ctx, consumers)
	if err != nil {
		return 0, err
	}
	stored, err := c.cursors.all(ctx, c.topics)
	if err != nil {
		return 0, err
	}

	for _, consumer := range consumers {
		end, ok := last[consumer.Topic]
		was, moved := stored[consumer.ID]
		if !moved {
			was.Position = consumer.Start
			if c.cursors.journal != nil {
				c.cursors.journal.apply(consumer.ID, &was)
			}
		}

		if !ok || was.Gone || was.Position <= end {
			continue
		}

		next := was.clone()
		next.Position = end
		next.Leases = slices.DeleteFunc(next.Leases, func(l Lease) bool { return l.Sequence > end })
		next.Epoch++ // a token of a lost message must not ack the next one of that sequence
		if _, _, err := c.cursors.store(ctx, consumer.ID, was, next); err != nil {
			return rewound, err
		}
		rewound++
	}
	return rewound, nil
}

// lastSequences returns the last sequence of each topic that has one of consumers.
func (c *Consumers) lastSequences(ctx context.Context, consumers []Consumer) (map[string]uint64, error) {
	last := make(map[string]uint64)
	for _, consumer := range consumers {
		last[consumer.Topic] = 0
	}
	topics, err := c.topics.DescribeAll(ctx, slices.Collect(maps.Keys(last)))

	clear(last)
	topics = slices.DeleteFunc(topics, func(t Topic) bool { return t.Damage != nil })
	for _, topic := range topics {
		last[topic.Name] = topic.LastSequence
	}
	return last, err
}
