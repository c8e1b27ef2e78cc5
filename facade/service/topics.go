package service

import (
	"context"
	"errors"
	"slices"

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
	existing, err := s.Topics.Describe(ctx, topic)
	if err != nil {
		return err
	}
	settings := existing.Settings
	if err := change(&settings); err != nil {
		return err
	}

	// The default of the dedup window depends on other settings. A topic that has the
	// default keeps it, so the window changes with them.
	unset := existing.Settings
	unset.DedupWindow = 0
	window := existing.Settings.DedupWindow
	if settings.DedupWindow == window && unset.Complete().DedupWindow == window {
		settings.DedupWindow = 0
	}
	return s.Topics.Change(ctx, topic, settings)
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

// DeleteTopic deletes a topic and all its producers and consumers.
// Errors: [*jetstream.TopicNotFoundError], [*jetstream.UnavailableError].
func (s *Service) DeleteTopic(ctx context.Context, topic string) error {
	existing, err := s.Topics.Describe(ctx, topic)
	if err != nil {
		return err
	}

	// The ids first: they must not work for a later topic of the same name.
	if err := s.removeProducers(ctx, topic); err != nil {
		return err
	}
	consumers, err := s.Registry.ListConsumers(ctx, topic)
	if err != nil {
		return err
	}
	if err := s.removeConsumers(ctx, consumers); err != nil {
		return err
	}
	if err := s.Topics.Delete(ctx, topic); err != nil {
		return err
	}

	// Consumers that were registered meanwhile go too, but not those of a later topic.
	if consumers, err = s.Registry.ListConsumers(ctx, topic); err != nil {
		return err
	}
	created := existing.Created.UnixNano()
	return s.removeConsumers(ctx, slices.DeleteFunc(consumers, func(c jetstream.Consumer) bool {
		return c.TopicCreated != created
	}))
}

// removeProducers removes the producers of topic.
func (s *Service) removeProducers(ctx context.Context, topic string) error {
	producers, err := s.Registry.ListProducers(ctx, topic)
	if err != nil {
		return err
	}
	for _, p := range producers {
		var none *registry.ProducerNotFoundError
		if err := s.Registry.RemoveProducer(ctx, p.ID); err != nil && !errors.As(err, &none) {
			return err
		}
	}
	return nil
}

// removeConsumers removes consumers.
func (s *Service) removeConsumers(ctx context.Context, consumers []jetstream.Consumer) error {
	for _, c := range consumers {
		if err := s.DeleteConsumer(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// A TopicQuery says which topics to list.
type TopicQuery struct {
	Prefix  string            // only those whose names start with it
	After   string            // only those whose names come after it
	Limit   int               // how many, at least 1
	Visible func(string) bool // whether the caller may see a topic
}

// ListTopics returns a page of the topics of q, in the order of their names. Next is the After of the next page, ""
// if this is the last one. The page lacks topics that were deleted meanwhile. Errors: [*jetstream.UnavailableError].
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
