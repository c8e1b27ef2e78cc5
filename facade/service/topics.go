package service

import (
	"context"
	"errors"
	"slices"
	"strings"

	"dq/jetstream"
	"dq/registry"
)

// CreateTopic makes a topic, with the default settings.
func (q *Service) CreateTopic(ctx context.Context, topic string) error {
	return q.Topics.Create(ctx, topic, q.Topics.DefaultSettings())
}

// EnsureTopic makes a topic with the default settings as change changes them, if
// it is not there. If it is, change must have nothing to change.
func (q *Service) EnsureTopic(ctx context.Context, topic string, change func(*jetstream.Settings) error) (created bool, err error) {
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
func (q *Service) ChangeTopic(ctx context.Context, topic string, change func(*jetstream.Settings) error) error {
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
func (q *Service) ListTopics(ctx context.Context) ([]jetstream.Topic, error) {
	return q.Topics.List(ctx)
}

// A TopicDescription is a topic with how many are registered for it.
type TopicDescription struct {
	jetstream.Topic
	Consumers, Producers int
}

// DescribeTopic returns what there is to know of a topic.
func (q *Service) DescribeTopic(ctx context.Context, topic string) (d TopicDescription, err error) {
	if d.Topic, err = q.Topics.Describe(ctx, topic); err != nil {
		return d, err
	}
	d.Consumers, d.Producers, err = q.Registry.Count(ctx, topic)
	return d, err
}

// PurgeTopic removes the messages of a topic up to a sequence, or all if that
// is 0.
func (q *Service) PurgeTopic(ctx context.Context, topic string, upTo uint64) (purged uint64, err error) {
	return q.Topics.Purge(ctx, topic, upTo)
}

// DeleteTopic removes a topic with all that is registered for it. The ids go
// first: a topic of the same name that is made later is not theirs. Consumers that
// are registered meanwhile go with it.
func (q *Service) DeleteTopic(ctx context.Context, topic string) error {
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
func (q *Service) removeAll(ctx context.Context, kind registry.Kind, topic string, born int64) error {
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

func (q *Service) remove(ctx context.Context, kind registry.Kind, entry registry.Entry) error {
	var none *registry.NotFoundError
	if err := q.Registry.Remove(ctx, kind, entry.ID); err != nil && !errors.As(err, &none) {
		return err
	}
	if kind == registry.Producer {
		return nil
	}
	return q.Consumers.Remove(ctx, consumerOf(entry))
}

// haveTopic makes a topic, with the default settings, if it is not there.
func (q *Service) HaveTopic(ctx context.Context, topic string) error {
	var exists *jetstream.ExistsError
	if err := q.CreateTopic(ctx, topic); !errors.As(err, &exists) {
		return err
	}
	return nil
}

// page returns the topics whose names start with prefix, by name, behind after,
// and whether there are more than limit.
func Page(topics []jetstream.Topic, prefix, after string, limit int) (_ []jetstream.Topic, more bool) {
	slices.SortFunc(topics, func(a, b jetstream.Topic) int { return strings.Compare(a.Name, b.Name) })
	topics = slices.DeleteFunc(topics, func(t jetstream.Topic) bool {
		return !strings.HasPrefix(t.Name, prefix) || t.Name <= after && after != ""
	})
	if len(topics) > limit {
		return topics[:limit], true
	}
	return topics, false
}
