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
	if acks := c.durables.acks; acks != nil {
		acks.rewind(consumers, last)
	}

	stored, err := c.cursors.all(ctx, c.topics)
	if err != nil {
		return 0, err
	}

	for _, consumer := range consumers {
		if consumer.Lease > 0 { // the engine moves durables back by itself
			continue
		}
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

		next := was
		next.Position = end
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

// rewind forgets what was acknowledged after the last message of a topic: others get
// those sequences. It also forgets consumers that do not exist any more.
func (j *ackJournal) rewind(consumers []Consumer, last map[string]uint64) {
	topics := make(map[int64]string, len(consumers))
	for _, c := range consumers {
		topics[c.ID] = c.Topic
	}
	for _, set := range j.all() {
		topic, exists := topics[set.consumer]
		if !exists {
			j.drop(set.consumer)
			continue
		}
		if end, ok := last[topic]; ok { // it has none while its files are damaged
			set.truncate(end)
		}
	}
}
