package registry

import "fmt"

// NotFoundError is an id that was never given out, or one that is gone.
type NotFoundError struct {
	Kind  Kind
	ID    string // as the client wrote it
	Gone  bool   // it was deleted, by itself or with Topic
	Topic string
}

func (e *NotFoundError) Error() string {
	if e.Gone {
		return fmt.Sprintf("%s:%.100s does not exist any more: it was deleted, or Topic:%s was", e.Kind.Title(), e.ID, e.Topic)
	}
	return fmt.Sprintf("%s:%.100s does not exist", e.Kind.Title(), e.ID)
}

// UnavailableError is an operation that the store could not do or did not
// confirm in time. A registration may have taken effect all the same; the id
// is then nobody's.
type UnavailableError struct {
	Operation string
	Err       error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("cannot %s: the storage engine did not confirm it: %v", e.Operation, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }
