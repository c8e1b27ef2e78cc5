package engine

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// DirInUseError says that another process uses a data directory.
type DirInUseError struct {
	Dir   string
	Owner string // the other process, as " (pid 7)"; "" if it is not known
}

func (e *DirInUseError) Error() string {
	return fmt.Sprintf("data directory %s is in use by another dq process%s: "+
		"stop it, or choose another directory with DQ_DATA_DIR", e.Dir, e.Owner)
}

// LostStreamsError says that the store has streams that the engine cannot use.
type LostStreamsError struct{ Dirs []string } // at least one

func (e *LostStreamsError) Error() string {
	return fmt.Sprintf("the engine cannot use the stream in %s (of %d such): its log says why; "+
		"restore the directory from a backup, or move it away to start without what it holds", e.Dirs[0], len(e.Dirs))
}

// StorageFullError says that the disk has no room for new data. Nothing was stored. Its
// text is part of the classic API.
type StorageFullError struct {
	Free, Reserve uint64 // bytes
}

func (e *StorageFullError) Error() string {
	return fmt.Sprintf("the broker's disk is full (%d MiB free, %d MiB are kept): nothing was stored; "+
		"delete or purge topics, or make room, and try again", e.Free>>20, e.Reserve>>20)
}

// hasSpace reports whether the disk has space: then e says that a write has failed.
// It is true of nil.
func (e *StorageFullError) hasSpace() bool { return e == nil || e.Free >= e.Reserve }

// UnavailableError says that the engine could not do an operation, or did not confirm
// it in time. Unless Refused is set, whether it took effect is unknown.
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
	return fmt.Sprintf("cannot %s: the storage engine did not confirm it, whether it took effect is unknown: %v",
		e.Operation, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Unavailable returns an [*UnavailableError] for what the engine answered to
// operation, when no other error fits better.
func Unavailable(operation string, err error) error {
	var api *jetstream.APIError
	return &UnavailableError{Operation: operation, Refused: errors.As(err, &api), Err: err}
}
