package transport

import (
	"fmt"
	"sync/atomic"
)

// What a broker takes at once. More is refused early, so that what is under way
// is finished: a client that is refused tries again, one that waits gives up.
const (
	// maxConnections is how many connections are served, if the process may have
	// as many files open and leave some of them to the engine: half, or engineFiles.
	maxConnections = 16 << 10
	engineFiles    = 8 << 10

	// maxWaiting is how many long polls, streams and sockets there may be. It is
	// less than maxConnections, so that there is always room for other calls.
	MaxWaiting = 12 << 10

	// maxBodies is how many bytes of bodies may be under way. The largest that is
	// allowed always fits.
	maxBodies = 256 << 20

	// bodyCost is how many bytes of memory one of a body takes while it is worked
	// on: as it came, decoded, and on its way to the engine.
	bodyCost = 8
)

// bodiesLimit is how many bytes of bodies may be under way in a process that may
// have that much memory (GOMEMLIMIT), of which one may have largest.
func BodiesLimit(memory int64, largest int) int64 {
	return max(int64(largest), min(maxBodies, memory/bodyCost))
}

// connectionLimit is how many connections a process serves that may have so many
// files open; 0 is unknown.
func ConnectionLimit(files int) int {
	if files <= 0 {
		return maxConnections
	}
	return max(1, min(maxConnections, files-min(files/2, engineFiles)))
}

// OverloadedError is a call that is refused since there are too many.
type OverloadedError struct {
	What  string
	Limit int64
}

func (e *OverloadedError) Error() string {
	return fmt.Sprintf("the broker has all it can take: more than %d %s; nothing was done, try again later", e.Limit, e.What)
}

// bounded counts something of which there may be only so much.
type Budget struct {
	What  string
	Limit int64
	taken atomic.Int64
}

// take takes n, until give is called, or returns an [*OverloadedError].
func (b *Budget) Take(n int64) (give func(), err error) {
	if b.taken.Add(n) > b.Limit {
		b.taken.Add(-n)
		return nil, &OverloadedError{b.What, b.Limit}
	}
	return func() { b.give(n) }, nil
}

// give gives n of what was taken back.
func (b *Budget) give(n int64) { b.taken.Add(-n) }
