package engine

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// StorageFullError is new data that is not taken, as the disk is full. Nothing
// was stored.
type StorageFullError struct {
	Free, Reserve uint64 // bytes
}

// fits reports whether there is room on the disk itself.
func (e *StorageFullError) fits() bool { return e == nil || e.Free >= e.Reserve }

func (e *StorageFullError) Error() string {
	return fmt.Sprintf("the broker's disk is full (%d MiB free, %d MiB are kept): nothing was stored; delete or purge topics, or make room, and try again",
		e.Free>>20, e.Reserve>>20)
}

// UnavailableError is an operation that the engine could not do or did not
// confirm in time. Unless Refused is set, whether it took effect is unknown.
type UnavailableError struct {
	Operation string
	Refused   bool // the engine said no: nothing was stored
	Harmless  bool // whether it took effect does not matter: it may be done again
	Err       error
}

func (e *UnavailableError) Error() string {
	switch {
	case e.Refused:
		return fmt.Sprintf("cannot %s: the storage engine refused: %v", e.Operation, e.Err)
	case e.Harmless:
		return fmt.Sprintf("cannot %s: the storage engine did not confirm it: %v", e.Operation, e.Err)
	}
	return fmt.Sprintf("cannot %s: the storage engine did not confirm it, whether it took effect is unknown: %v", e.Operation, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// unavailable wraps what the engine answered when nothing more precise fits.
func Unavailable(operation string, err error) error {
	var api *jetstream.APIError
	return &UnavailableError{Operation: operation, Refused: errors.As(err, &api), Err: err}
}
