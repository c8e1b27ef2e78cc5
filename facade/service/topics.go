package service

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"dq/jetstream"
	"dq/registry"
)

// CreateTopic creates a topic with the default settings.
// Errors: [*jetstream.ExistsError], and those of [jetstream.Topics.Create].
func (s *Service) CreateTopic(ctx context.Context, topic string) error {
	return s.Topics.Create(ctx, topic, s.Topics.DefaultSettings())
}

// CreateTopicIfMissing creates a topic with the default settings if it does not
// exist. Errors: those of [jetstream.Topics.Create].
func (s *Service) CreateTopicIfMissing(ctx context.Context, topic string) error {
	var exists *jetstream.ExistsError
	if err := s.CreateTopic(ctx, topic); !errors.As(err, &exists) {
		return err
	}
	return nil
}

// EnsureTopic creates a topic if it does not exist; change turns the default settings
// into those of the topic. If the topic exists, its settings must already be as change
// would make them. Errors: [*OtherSettingsError], those of change, and those of
// [jetstream.Topics.Create].
func (s *Service) EnsureTopic(
	ctx context.Context, topic string, change func(*jetstream.Settings) error,
) (created bool, err error) {
	settings := s.Topics.DefaultSettings()
	if err := change(&settings); err != nil {
		return false, err
	}
	var exists *jetstream.ExistsError
	if err := s.Topics.Create(ctx, topic, settings); !errors.As(err, &exists) {
		return err == nil, err
	}

	existing, err := s.Topics.Describe(ctx, topic)
	if err != nil {
		return false, err
	}
	settings = existing.Settings
	if err := change(&settings); err != nil {
		return false, err
	}
	if existing.Settings != settings.Complete() {
		return false, &OtherSettingsError{What: "Topic:" + topic, Remedy: "change them with PATCH, or delete it first"}
	}
	return false, nil
}

// ChangeTopic changes the settings of a topic as change says. Errors: those of
// change, and those of [jetstream.Topics.Change].
func (s *Service) ChangeTopic(ctx context.Context, topic string, change func(*jetstream.Settings) error) error {
	return s.Topics.Change(ctx, topic, func(was jetstream.Settings) (jetstream.Settings, error) {
		settings := was
		if err := change(&settings); err != nil {
			return settings, err
		}

		// The default of the dedup window depends on other settings. A topic that has the
		// default keeps it, so the window changes with them.
		unset := was
		unset.DedupWindow = 0
		window := was.DedupWindow
		if settings.DedupWindow == window && unset.Complete().DedupWindow == window {
			settings.DedupWindow = 0
		}
		return settings, nil
	})
}

// A TopicDescription is a topic and how many consumers and producers it has.
type TopicDescription struct {
	jetstream.Topic
	Consumers, Producers int
}

// DescribeTopic returns the settings and the state of a topic, with its counts.
// Errors: [*jetstream.TopicNotFoundError], [*jetstream.UnavailableError].
func (s *Service) DescribeTopic(ctx context.Context, topic string) (d TopicDescription, err error) {
	if d.Topic, err = s.Topics.Describe(ctx, topic); err != nil {
		return d, err
	}
	d.Consumers, d.Producers, err = s.Registry.Count(ctx, topic)
	return d, err
}

// removals is how many producers and consumers of a topic are removed at a time.
const removals = 256

// forget removes the producers and consumers of a topic that does not exist. The entry of each is marked as deleted
// last, so that the next call continues if this one is interrupted.
func (s *Service) forget(ctx context.Context, topic string) error {
	left, err := s.Registry.Left(ctx, topic)
	if err != nil || len(left.Consumers)+len(left.Producers) == 0 {
		return err
	}

	// The topic is looked up after the list was read. So each entry belongs to a deleted topic, even if another process
	// creates the topic again at this moment.
	_, err = s.Topics.LastSequence(ctx, topic)
	var none *jetstream.TopicNotFoundError
	var damaged *jetstream.TopicDamagedError
	switch {
	case errors.As(err, &damaged): // its messages may be served again, and its consumers with them
		return nil
	case !errors.As(err, &none):
		return err
	}

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(removals)
	for _, p := range left.Producers {
		group.Go(func() error { return ignoreGone(s.Registry.RemoveProducer(ctx, p.ID)) })
	}
	for _, c := range left.Consumers {
		group.Go(func() error {
			if err := s.Consumers.Remove(ctx, c); err != nil {
				return err
			}
			if err := ignoreGone(s.Registry.RemoveConsumer(ctx, c.ID)); err != nil {
				return err
			}
			return s.Registry.FreeName(ctx, c.ID)
		})
	}
	return group.Wait()
}

// ignoreGone returns err unless it says that a producer or consumer was deleted before.
func ignoreGone(err error) error {
	var producer *registry.ProducerNotFoundError
	var consumer *jetstream.ConsumerNotFoundError
	if errors.As(err, &producer) || errors.As(err, &consumer) {
		return nil
	}
	return err
}

// A TopicQuery says which topics to list.
type TopicQuery struct {
	Prefix  string            // only those whose names start with it
	After   string            // only those whose names come after it
	Limit   int               // how many, at least 1
	Visible func(string) bool // whether the caller may see a topic
}

// ListTopics returns a page of the topics of q, in the order of their names. The result next is the After of the next
// page, or "" after the last one. A topic that is deleted meanwhile may be missing from the page. Errors:
// [*jetstream.UnavailableError].
func (s *Service) ListTopics(ctx context.Context, q TopicQuery) (page []jetstream.Topic, next string, err error) {
	var names []string
	for name, err := range s.Topics.Names(ctx, q.Prefix, q.After) {
		if err != nil {
			return nil, "", err
		}
		if !q.Visible(name) {
			continue
		}

		if len(names) == q.Limit {
			next = names[len(names)-1]
			break
		}
		names = append(names, name)
	}

	page, err = s.Topics.DescribeAll(ctx, names)
	return page, next, err
}

// TopicsByAge returns the names of the topics for which visible is true, in the order of their creation.
// Errors: [*jetstream.UnavailableError].
func (s *Service) TopicsByAge(ctx context.Context, visible func(string) bool) ([]string, error) {
	var names []string
	for name, err := range s.Topics.Names(ctx, "", "") {
		if err != nil {
			return nil, err
		}
		if visible(name) {
			names = append(names, name)
		}
	}

	topics, err := s.Topics.DescribeAll(ctx, names)
	slices.SortStableFunc(topics, func(a, b jetstream.Topic) int { return a.Created.Compare(b.Created) })
	names = names[:0]
	for _, topic := range topics {
		names = append(names, topic.Name)
	}
	return names, err
}
