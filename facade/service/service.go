package service

import (
	"context"

	"dq/jetstream"
	"dq/registry"
)

// A Service does what clients ask for. All methods are safe for concurrent use.
type Service struct {
	Topics    *jetstream.Topics
	Delayer   *jetstream.Delayer
	Consumers *jetstream.Consumers
	Registry  *registry.Registry

	MaxMessageBytes int // of the largest message that the broker takes
}

// Start prepares the service for use, and finishes what a killed process left undone: registrations under a name, and
// deletions of topics.
// Errors: [*jetstream.UnavailableError].
func (s *Service) Start(ctx context.Context) error {
	s.Topics.OnGone(s.forget)

	if err := s.Registry.FinishRegistrations(ctx); err != nil {
		return err
	}
	topics, err := s.Registry.Topics(ctx)
	if err != nil || len(topics) == 0 {
		return err
	}

	// The topics that exist are listed after the registered ones: see forget.
	existing := make(map[string]bool)
	for name, err := range s.Topics.Names(ctx, "", "") {
		if err != nil {
			return err
		}
		existing[name] = true
	}
	for _, topic := range topics {
		if existing[topic] {
			continue
		}
		if err := s.forget(ctx, topic); err != nil {
			return err
		}
	}
	return nil
}
