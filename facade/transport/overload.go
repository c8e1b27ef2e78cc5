package transport

import (
	"fmt"
	"sync/atomic"
)

// The limits of what a broker handles at once. It refuses more early, so that it can
// finish what it has begun: a refused client tries again, one that waits too long
// gives up.
const (
	// maxConnections is how many connections are served, if the process may open as
	// many files and still leave some of them to the engine.
	maxConnections = 16 << 10

	// engineFiles is how many files are left to the engine, or half of all if that
	// is less.
	engineFiles = 8 << 10

	// maxBodies is how many bytes of bodies may be under way, however much memory there is.
	maxBodies = 256 << 20

	// bodyCost is how many bytes of memory one byte of a body takes while its request is
	// handled: as it came, decoded, and on its way to the engine.
	bodyCost = 8
)

const (
	// maxAnswers is how many bytes of large answers may be under way.
	maxAnswers = 256 << 20

	// answerPart is the part of the process's memory that answers may take: they are
	// in memory once, and what was written is freed only now and then.
	answerPart = 8

	// maxReads is how many bytes may be taken by messages that were read and are not written yet.
	maxReads = 128 << 20
)

// MaxAnswerBytes returns how many bytes of large answers may be under way at once in
// a process that may use so many bytes of memory (GOMEMLIMIT).
func MaxAnswerBytes(memory int64) int64 { return min(maxAnswers, memory/answerPart) }

// MaxReadBytes returns how many bytes the messages may take at once that are read for streams, sockets and the first
// part of each answer, in a process that may use so many bytes of memory (GOMEMLIMIT).
func MaxReadBytes(memory int64) int64 { return min(maxReads, memory/answerPart) }

// MaxConnections returns how many connections a process serves that may have that
// many files open; 0 means that the number is unknown.
func MaxConnections(files int) int {
	if files <= 0 {
		return maxConnections
	}
	return max(1, min(maxConnections, files-min(files/2, engineFiles)))
}

// MaxWaitingCalls returns how many long polls, streams and sockets may be open on so
// many connections. A quarter of these is left to other calls.
func MaxWaitingCalls(connections int) int64 { return int64(connections) * 3 / 4 }

// OverloadedError is a call that is refused because too many are under way.
type OverloadedError struct {
	What  string
	Limit int64
}

func (e *OverloadedError) Error() string {
	return fmt.Sprintf(
		"the broker has all it can take: more than %d %s; nothing was done, try again later", e.Limit, e.What)
}

// A Budget limits how much of something is in use at once. Its methods are safe for
// concurrent use. It must not be copied.
type Budget struct {
	What  string // what is counted, in the plural
	Limit int64

	used atomic.Int64
}

// Acquire takes n of the budget. The caller must call release once, to return them.
// Errors: [*OverloadedError] if less than n is left.
func (b *Budget) Acquire(n int64) (release func(), err error) {
	if err := b.take(n); err != nil {
		return nil, err
	}
	return func() { b.give(n) }, nil
}

// take takes n of the budget, if that much is left.
func (b *Budget) take(n int64) error {
	if b.used.Add(n) > b.Limit {
		b.give(n)
		return &OverloadedError{What: b.What, Limit: b.Limit}
	}
	return nil
}

// give returns n to the budget.
func (b *Budget) give(n int64) { b.used.Add(-n) }
