package jetstream

import (
	"context"
	"slices"
)

// Rewind has those of consumers go on behind the last message of their topic that
// stand further: the newest messages are gone, as a power cut may take them, and
// what is stored next gets their sequences. It returns how many there were. It is
// to be called before anything is stored, and only where no other process reaches
// the engine. Errors: [*UnavailableError].
func (c *Consumers) Rewind(ctx context.Context, consumers []Consumer) (rewound int, err error) {
	last := make(map[string]uint64)
	topics, err := c.topics.List(ctx)
	if err != nil {
		return 0, err
	}
	for _, topic := range topics {
		last[topic.Name] = topic.LastSequence
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
		next.Epoch++ // a token of a message that is gone is none of what has its sequence now
		if _, _, err := c.cursors.store(ctx, consumer.ID, was, next); err != nil {
			return rewound, err
		}
		rewound++
	}
	return rewound, nil
}
