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

// NewerFormatError says that a data directory was written by a newer dq.
type NewerFormatError struct {
	Dir              string
	Found, Supported int // format versions
}

func (e *NewerFormatError) Error() string {
	return fmt.Sprintf("data directory %s has format version %d, and this dq supports versions up to %d: "+
		"a newer dq wrote it; start that one, or restore a backup from before it was started",
		e.Dir, e.Found, e.Supported)
}

// UnreadableFormatError says that the format version of a data directory is no number.
type UnreadableFormatError struct{ File, Text string }

func (e *UnreadableFormatError) Error() string {
	return fmt.Sprintf("%s must hold the format version of the data directory, a number, and holds %.20q: "+
		"the file is damaged; write the number into it (this dq writes %d)", e.File, e.Text, DataFormat)
}

// NewerEngineError says that a stream or a consumer needs a newer engine than the one in
// this dq.
type NewerEngineError struct {
	File      string // its settings
	Level     string // the API level that it needs; "" if it has a setting that this engine does not know
	Supported int    // the highest API level of this engine
	Err       error  // about the setting
}

func (e *NewerEngineError) Error() string {
	needs := fmt.Sprintf("needs JetStream API level %s", e.Level)
	if e.Err != nil {
		needs = fmt.Sprintf("has a setting that this engine does not know (%v)", e.Err)
	}
	return fmt.Sprintf("%s %s, and this dq (nats-server %s) supports levels up to %d: "+
		"a newer dq or nats-server wrote it; start that one, or restore a backup from before it was started",
		e.File, needs, Version(), e.Supported)
}

func (e *NewerEngineError) Unwrap() error { return e.Err }

// DamagedError says that files are damaged without which dq cannot work.
type DamagedError struct {
	Stream  StreamDamage // the first
	Holds   string       // what it holds
	Streams int          // how many streams are damaged so
}

func (e *DamagedError) Error() string {
	others := ""
	if e.Streams > 1 {
		others = fmt.Sprintf(" (and %d other streams)", e.Streams-1)
	}
	return fmt.Sprintf("the files of %s, which holds %s, are damaged%s: %s; restore the data directory from a backup, "+
		"or start with DQ_ACCEPT_DAMAGE=%s to go on with what is left",
		e.Stream.Stream, e.Holds, others, &e.Stream, e.Stream.Stream)
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
	if e.hasSpace() {
		return "a write to the broker's disk failed, although it is not full: nothing was stored; " +
			"try again when the storage engine has been restarted, and see the broker's log"
	}
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

// NotStoredError says that the engine did not take what was to be stored, and never will: no
// server was responsible for it, or it refused. It may be sent again.
type NotStoredError struct {
	Operation string
	Err       error
}

func (e *NotStoredError) Error() string {
	return fmt.Sprintf("cannot %s, nothing was stored: try again: %v", e.Operation, e.Err)
}

func (e *NotStoredError) Unwrap() error { return e.Err }

// Unavailable returns an [*UnavailableError] for what the engine answered to
// operation, when no other error fits better.
func Unavailable(operation string, err error) error {
	var api *jetstream.APIError
	return &UnavailableError{Operation: operation, Refused: errors.As(err, &api), Err: err}
}
