package facade

import (
	"context"
	"errors"
	"slices"
	"strings"
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
	Resume(ctx context.Context, consumer jetstream.Consumer, last *uint64) (stream uint64, err error)
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
type Queue struct {
	Topics    Topics
	Delayer   Delayer
	Consumers Consumers
	Registry  Registry
	// MaxMessageBytes is the largest message, in bytes.
	MaxMessageBytes int
}

// CreateTopic makes a topic, with the default settings.
func (q *Queue) CreateTopic(ctx context.Context, topic string) error {
	return q.Topics.Create(ctx, topic, q.Topics.DefaultSettings())
}

// EnsureTopic makes a topic with the default settings as change changes them, if
// it is not there. If it is, change must have nothing to change.
func (q *Queue) EnsureTopic(ctx context.Context, topic string, change func(*jetstream.Settings) error) (created bool, err error) {
	settings := q.Topics.DefaultSettings()
	if err := change(&settings); err != nil {
		return false, err
	}
	var exists *jetstream.ExistsError
	if err := q.Topics.Create(ctx, topic, settings); !errors.As(err, &exists) {
		return err == nil, err
	}
	there, err := q.Topics.Describe(ctx, topic)
	if err != nil {
		return false, err
	}
	settings = there.Settings
	if err := change(&settings); err != nil {
		return false, err
	}
	if there.Settings != settings.Complete() {
		return false, &OtherSettingsError{What: "Topic:" + topic, Remedy: "change them with PATCH, or delete it first"}
	}
	return false, nil
}

// ChangeTopic gives topic the settings that change makes of its own.
func (q *Queue) ChangeTopic(ctx context.Context, topic string, change func(*jetstream.Settings) error) error {
	there, err := q.Topics.Describe(ctx, topic)
	if err != nil {
		return err
	}
	window, byDefault := there.Settings.DedupWindow, there.Settings
	byDefault.DedupWindow = 0
	if err := change(&there.Settings); err != nil {
		return err
	}
	if there.Settings.DedupWindow == window && byDefault.Complete().DedupWindow == window {
		there.Settings.DedupWindow = 0 // the default goes with what else is changed
	}
	return q.Topics.Change(ctx, topic, there.Settings)
}

// ListTopics returns all topics in the order of their creation.
func (q *Queue) ListTopics(ctx context.Context) ([]jetstream.Topic, error) {
	return q.Topics.List(ctx)
}

// A TopicDescription is a topic with how many are registered for it.
type TopicDescription struct {
	jetstream.Topic
	Consumers, Producers int
}

// DescribeTopic returns what there is to know of a topic.
func (q *Queue) DescribeTopic(ctx context.Context, topic string) (d TopicDescription, err error) {
	if d.Topic, err = q.Topics.Describe(ctx, topic); err != nil {
		return d, err
	}
	d.Consumers, d.Producers, err = q.Registry.Count(ctx, topic)
	return d, err
}

// PurgeTopic removes the messages of a topic up to a sequence, or all if that
// is 0.
func (q *Queue) PurgeTopic(ctx context.Context, topic string, upTo uint64) (purged uint64, err error) {
	return q.Topics.Purge(ctx, topic, upTo)
}

// DeleteTopic removes a topic with all that is registered for it. The ids go
// first: a topic of the same name that is made later is not theirs. Consumers that
// are registered meanwhile go with it.
func (q *Queue) DeleteTopic(ctx context.Context, topic string) error {
	there, err := q.Topics.Describe(ctx, topic)
	if err != nil {
		return err
	}
	if err := q.removeAll(ctx, registry.Producer, topic, 0); err != nil {
		return err
	}
	if err := q.removeAll(ctx, registry.Consumer, topic, 0); err != nil {
		return err
	}
	if err := q.Topics.Delete(ctx, topic); err != nil {
		return err
	}
	return q.removeAll(ctx, registry.Consumer, topic, there.Created.UnixNano())
}

// removeAll removes what is registered for a topic or, unless born is 0, for the
// topic of that name that was created then.
func (q *Queue) removeAll(ctx context.Context, kind registry.Kind, topic string, born int64) error {
	entries, err := q.Registry.List(ctx, kind, topic)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if born != 0 && entry.Born != born {
			continue
		}
		if err := q.remove(ctx, kind, entry); err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) remove(ctx context.Context, kind registry.Kind, entry registry.Entry) error {
	var none *registry.NotFoundError
	if err := q.Registry.Remove(ctx, kind, entry.ID); err != nil && !errors.As(err, &none) {
		return err
	}
	if kind == registry.Producer {
		return nil
	}
	return q.Consumers.Remove(ctx, consumerOf(entry))
}

// RegisterProducer gives out a producer id for topic, and makes the topic if it
// is not there.
func (q *Queue) RegisterProducer(ctx context.Context, topic string) (int64, error) {
	if err := q.haveTopic(ctx, topic); err != nil {
		return 0, err
	}
	return q.Registry.Register(ctx, registry.Producer, registry.Registration{Topic: topic})
}

// haveTopic makes a topic, with the default settings, if it is not there.
func (q *Queue) haveTopic(ctx context.Context, topic string) error {
	var exists *jetstream.ExistsError
	if err := q.CreateTopic(ctx, topic); !errors.As(err, &exists) {
		return err
	}
	return nil
}

// Produce appends message to topic. The message is stored when it returns.
func (q *Queue) Produce(ctx context.Context, topic string, producer ID, message []byte) error {
	if _, err := q.registration(ctx, registry.Producer, producer, topic); err != nil {
		return err
	}
	if len(message) > q.MaxMessageBytes {
		return &TooLargeError{Limit: q.MaxMessageBytes}
	}
	return q.Topics.Publish(ctx, topic, message)
}

// A Batch is messages to produce.
type Batch struct {
	Drafts []jetstream.Draft
	// Atomic stores all of them or none.
	Atomic bool
	// ExpectedLast is what the topic's last sequence has to be; nil is any.
	ExpectedLast *uint64
}

// ProduceBatch appends messages to topic and returns a receipt for each. Each
// that has no error in its receipt is stored. An error is that of all: none is
// stored, unless it says that this is unknown.
func (q *Queue) ProduceBatch(ctx context.Context, topic string, batch Batch) ([]jetstream.Receipt, error) {
	if len(batch.Drafts) == 0 {
		return nil, &jetstream.BatchError{Problem: "there is no message to produce"}
	}
	now := time.Now()
	delayed := 0
	for i, draft := range batch.Drafts {
		if len(draft.Data) > q.MaxMessageBytes {
			err := &TooLargeError{Limit: q.MaxMessageBytes}
			if len(batch.Drafts) == 1 {
				return nil, err
			}
			return nil, &ItemError{"message", i, err}
		}
		if draft.At.After(now) {
			delayed++
		}
	}
	switch {
	case delayed > 0 && (batch.Atomic || batch.ExpectedLast != nil):
		return nil, &jetstream.BatchError{Problem: "a delayed message can be neither in an atomic batch nor have an expected last sequence"}
	case delayed > 0:
		return q.produceDelayed(ctx, topic, batch.Drafts, now)
	case batch.Atomic || batch.ExpectedLast != nil:
		if len(batch.Drafts) > 1 && !batch.Atomic {
			return nil, &jetstream.BatchError{Problem: "an expected last sequence needs one message, or an atomic batch"}
		}
		return q.Topics.PublishAtomically(ctx, topic, batch.Drafts, batch.ExpectedLast)
	}
	return q.Topics.PublishAll(ctx, topic, batch.Drafts), nil
}

// produceDelayed produces what is to be stored now and later, in order.
func (q *Queue) produceDelayed(ctx context.Context, topic string, drafts []jetstream.Draft, now time.Time) ([]jetstream.Receipt, error) {
	var soon, late []jetstream.Draft
	for _, draft := range drafts {
		if draft.At.After(now) {
			late = append(late, draft)
		} else {
			soon = append(soon, draft)
		}
	}
	later, err := q.Delayer.Delay(ctx, topic, late)
	if err != nil {
		return nil, err
	}
	var stored []jetstream.Receipt
	if len(soon) > 0 {
		stored = q.Topics.PublishAll(ctx, topic, soon)
	}
	receipts := make([]jetstream.Receipt, len(drafts))
	for i, draft := range drafts {
		from := &stored
		if draft.At.After(now) {
			from = &later
		}
		receipts[i], *from = (*from)[0], (*from)[1:]
	}
	return receipts, nil
}

// FollowMessages returns messages of topic, and waits for one until ctx ends.
func (q *Queue) FollowMessages(ctx context.Context, topic string, r jetstream.Range) ([]jetstream.Message, error) {
	return q.Topics.ReadWait(ctx, topic, r)
}

// GetMessage returns one message of a topic.
func (q *Queue) GetMessage(ctx context.Context, topic string, sequence uint64) (jetstream.Message, error) {
	return q.Topics.Get(ctx, topic, sequence)
}

// registration checks, in this order, that id was given out, that the topic
// exists and that id was given out for it.
func (q *Queue) registration(ctx context.Context, kind registry.Kind, id ID, topic string) (registry.Registration, error) {
	if !id.possible() {
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

// page returns the topics whose names start with prefix, by name, behind after,
// and whether there are more than limit.
func page(topics []jetstream.Topic, prefix, after string, limit int) (_ []jetstream.Topic, more bool) {
	slices.SortFunc(topics, func(a, b jetstream.Topic) int { return strings.Compare(a.Name, b.Name) })
	topics = slices.DeleteFunc(topics, func(t jetstream.Topic) bool {
		return !strings.HasPrefix(t.Name, prefix) || t.Name <= after && after != ""
	})
	if len(topics) > limit {
		return topics[:limit], true
	}
	return topics, false
}
