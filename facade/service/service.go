package service

import (
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
