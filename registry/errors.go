package registry

import (
	"fmt"

	"dq/jetstream"
)

// ProducerNotFoundError is a producer that does not exist.
type ProducerNotFoundError struct {
	Producer string // its id, as the caller wrote it
	Deleted  bool   // it existed, and was deleted with its topic
	Topic    string // the topic of a deleted producer
}

func (e *ProducerNotFoundError) Error() string {
	if e.Deleted {
		return fmt.Sprintf(
			"Producer:%.100s does not exist any more: it was deleted, or Topic:%s was", e.Producer, e.Topic)
	}
	return fmt.Sprintf("Producer:%.100s does not exist", e.Producer)
}

// unavailable returns the error of an operation that the engine did not confirm.
// A registration may have taken effect all the same: nobody was told its id then,
// so trying again does no harm.
func unavailable(operation string, err error) error {
	return &jetstream.UnavailableError{Operation: operation, Harmless: true, Err: err}
}
