package sdk

import (
	"errors"
	"fmt"
)

// Error is a request that the broker refused or failed.
type Error struct {
	Status  int    // the HTTP status
	Code    string // stable, such as "topic_not_found"
	Message string // for people
}

func (e *Error) Error() string { return e.Message }

// Is reports whether target is an [*Error] with the same code.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// The refusals, for errors.Is.
var (
	ErrTopicExists           = &Error{Code: "topic_exists"}
	ErrTopicNotFound         = &Error{Code: "topic_not_found"}
	ErrInvalidTopicName      = &Error{Code: "invalid_topic_name"}
	ErrProducerNotFound      = &Error{Code: "producer_not_found"}
	ErrConsumerNotFound      = &Error{Code: "consumer_not_found"}
	ErrProducerNotRegistered = &Error{Code: "producer_not_registered"} // for this topic
	ErrConsumerNotRegistered = &Error{Code: "consumer_not_registered"} // for this topic
	ErrEmpty                 = &Error{Code: "empty"}                   // nothing left to consume
	ErrMessageTooLarge       = &Error{Code: "message_too_large"}
	ErrUnavailable           = &Error{Code: "unavailable"} // the broker could not do its work

	errNoTopics = &Error{Code: "no_topics"}
)

// Other errors, for errors.Is.
var (
	// ErrOutcomeUnknown is a call that was sent and not answered as it should.
	// It may have taken effect: a message may be stored, a consumer may have
	// moved past a message that nobody got, an id may be given to nobody.
	ErrOutcomeUnknown = errors.New("whether the call took effect is unknown")

	// ErrUnreachable is a call that did not reach a broker, and has no effect.
	ErrUnreachable = errors.New("no broker can be reached")

	// ErrInvalidText is a topic or message that is not valid UTF-8. It was not
	// sent: JSON cannot carry it.
	ErrInvalidText = errors.New("not valid UTF-8")

	// ErrClosed is a use of a Producer or Consumer after its Close.
	ErrClosed = errors.New("already closed")
)

// unknown makes err an error whose outcome is unknown.
func unknown(err error) error { return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err) }
