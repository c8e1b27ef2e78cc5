package service

import (
	"fmt"

	"dq/registry"
)

// NotRegisteredError is an id that was given out for another topic.
type NotRegisteredError struct {
	Kind  registry.Kind
	ID    string
	Topic string
	Of    string // the topic that it was given out for, which not everybody may see
}

func (e *NotRegisteredError) Error() string {
	return fmt.Sprintf("%s:%s is not registered with Topic:%s", e.Kind.Title(), e.ID, e.Topic)
}

// TooLargeError is a message above the broker's limit.
type TooLargeError struct{ Limit int } // bytes

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the message is larger than the limit of %d bytes: send less, or raise DQ_MAX_MESSAGE_BYTES", e.Limit)
}

// OtherSettingsError is a topic or consumer that is there with other settings.
type OtherSettingsError struct{ What, Remedy string }

func (e *OtherSettingsError) Error() string {
	return fmt.Sprintf("%s exists with other settings: %s", e.What, e.Remedy)
}

// ItemError is an error in one item of a batch.
type ItemError struct {
	What  string // "message" or "line"
	Index int    // from 0
	Err   error
}

func (e *ItemError) Error() string { return fmt.Sprintf("%s %d: %v", e.What, e.Index+1, e.Err) }

func (e *ItemError) Unwrap() error { return e.Err }
