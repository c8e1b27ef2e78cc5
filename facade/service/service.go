package service

import (
	"context"
	"time"

	"dq/jetstream"
	"dq/registry"
)

// Topics are the topics that a facade serves; *jetstream.Topics in a broker.
type Topics interface {
	DefaultSettings() jetstream.Settings
	Create(ctx context.Context, topic string, settings jetstream.Settings) error
	Change(ctx context.Context, topic string, settings jetstream.Settings) error
	Describe(ctx context.Context, topic string) (jetstream.Topic, error)
	List(ctx context.Context) ([]jetstream.Topic, error)
	Purge(ctx context.Context, topic string, upTo uint64) (purged uint64, err error)
	Delete(ctx context.Context, topic string) error
	LastSequence(ctx context.Context, topic string) (uint64, error)

	Publish(ctx context.Context, topic string, data []byte) error
	PublishAll(ctx context.Context, topic string, drafts []jetstream.Draft) []jetstream.Receipt
	PublishAtomically(ctx context.Context, topic string, drafts []jetstream.Draft, expected *uint64) ([]jetstream.Receipt, error)

	Read(ctx context.Context, topic string, r jetstream.Range) ([]jetstream.Message, error)
	ReadWait(ctx context.Context, topic string, r jetstream.Range) ([]jetstream.Message, error)
	Get(ctx context.Context, topic string, sequence uint64) (jetstream.Message, error)
}

// Delayer stores messages for later; *jetstream.Delayer in a broker.
type Delayer interface {
	Delay(ctx context.Context, topic string, drafts []jetstream.Draft) ([]jetstream.Receipt, error)
}

// Consumers hand out messages; *jetstream.Consumers in a broker.
type Consumers interface {
	Next(ctx context.Context, consumer jetstream.Consumer) (jetstream.Message, error)
	FetchWait(ctx context.Context, consumer jetstream.Consumer, limits jetstream.Limits) ([]jetstream.Delivery, error)
	Ack(ctx context.Context, consumer jetstream.Consumer, tokens []string) error
	AckUpTo(ctx context.Context, consumer jetstream.Consumer, token string) error
	Nack(ctx context.Context, consumer jetstream.Consumer, tokens []string, delay time.Duration) error
	Extend(ctx context.Context, consumer jetstream.Consumer, tokens []string, lease time.Duration) error
	Seek(ctx context.Context, consumer jetstream.Consumer, position uint64) error
	Pause(ctx context.Context, consumer jetstream.Consumer, until time.Time) error
	TakeOver(ctx context.Context, consumer jetstream.Consumer, last *uint64) (stream uint64, err error)
	State(ctx context.Context, consumer jetstream.Consumer) (jetstream.State, error)
	Remove(ctx context.Context, consumer jetstream.Consumer) error
}

// Registry gives out ids; *registry.Registry in a broker.
type Registry interface {
	Register(ctx context.Context, kind registry.Kind, reg registry.Registration) (id int64, err error)
	RegisterName(ctx context.Context, reg registry.Registration) (_ registry.Entry, created bool, err error)
	Lookup(ctx context.Context, kind registry.Kind, id int64) (registry.Registration, error)
	LookupName(ctx context.Context, topic, name string) (registry.Entry, error)
	List(ctx context.Context, kind registry.Kind, topic string) ([]registry.Entry, error)
	Count(ctx context.Context, topic string) (consumers, producers int, err error)
	CountAll(ctx context.Context, kind registry.Kind, of func(topic string) bool) (int, error)
	Remove(ctx context.Context, kind registry.Kind, id int64) error
}

// A Queue has one method for each operation that clients may ask for. The
// classic API and that under /v1 are two mappings of it.
type Service struct {
	Topics    Topics
	Delayer   Delayer
	Consumers Consumers
	Registry  Registry
	// MaxMessageBytes is the largest message, in bytes.
	MaxMessageBytes int
}

// registration checks, in this order, that id was given out, that the topic
// exists and that id was given out for it.
func (q *Service) registration(ctx context.Context, kind registry.Kind, id ID, topic string) (registry.Registration, error) {
	if !id.Possible() {
		return registry.Registration{}, &registry.NotFoundError{Kind: kind, ID: id.Text}
	}
	reg, err := q.Registry.Lookup(ctx, kind, id.Number)
	if err != nil || reg.Topic == topic {
		return reg, err
	}
	if _, err := q.Topics.LastSequence(ctx, topic); err != nil {
		return registry.Registration{}, err
	}
	return registry.Registration{}, &NotRegisteredError{Kind: kind, ID: id.Text, Topic: topic, Of: reg.Topic}
}
