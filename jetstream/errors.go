package jetstream

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NameError is a topic name that breaks a rule of [CheckName].
type NameError struct{ Name, Rule string }

func (e *NameError) Error() string {
	return fmt.Sprintf("Topic:%.300s is not a valid topic name: %s", e.Name, e.Rule)
}

// NotFoundError is a topic that does not exist.
type NotFoundError struct{ Topic string }

func (e *NotFoundError) Error() string { return fmt.Sprintf("Topic:%s does not exist", e.Topic) }

// ExistsError is a topic that was to be created and is there already.
type ExistsError struct{ Topic string }

func (e *ExistsError) Error() string { return fmt.Sprintf("Topic:%s already exist", e.Topic) }

// EmptyError says that a consumer has consumed all there is.
type EmptyError struct {
	Consumer int64
	Topic    string
}

func (e *EmptyError) Error() string {
	return fmt.Sprintf("Empty logs for Comsumer:%d for Topic:%s", e.Consumer, e.Topic)
}

// UnavailableError is an operation that the engine could not do or did not
// confirm in time. Whether it took effect is unknown unless Refused is set.
type UnavailableError struct {
	Operation string
	Refused   bool // the engine said no: nothing was stored
	Err       error
}

func (e *UnavailableError) Error() string {
	if e.Refused {
		return fmt.Sprintf("cannot %s: the storage engine refused: %v", e.Operation, e.Err)
	}
	return fmt.Sprintf("cannot %s: the storage engine did not confirm it, whether it took effect is unknown: %v", e.Operation, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// unavailable wraps what the engine answered when nothing more precise fits.
func unavailable(operation string, err error) error {
	var api *jetstream.APIError
	return &UnavailableError{Operation: operation, Refused: errors.As(err, &api), Err: err}
}

// missing reports whether err says that a stream is not there.
func missing(err error) bool {
	return errors.Is(err, jetstream.ErrStreamNotFound) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, nats.ErrNoResponders)
}
