package engine

import (
	"context"
	"fmt"
	"os"
	"sync"
)

// A syncer syncs to disk what the engine has written. Calls that come at the same
// time share one sync, which takes as long for many as for one. The engine writes to
// its files before it confirms, so everything that was confirmed before a sync begins
// is on disk when it ends.
type syncer struct {
	dir *os.File // on the file system that is synced

	running sync.Mutex // held by the sync under way
	mu      sync.Mutex
	next    *syncRound // has not begun; nil if no call waits
	failed  error      // why a sync failed, for good
}

// syncRound is one sync, shared by the calls that came before it began.
type syncRound struct {
	done chan struct{}
	err  error
}

// openSyncer returns a syncer of the file system of dir, or nil if this operating
// system cannot sync a file system.
func openSyncer(dir string) (*syncer, error) {
	if !canSyncFileSystem {
		return nil, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the data directory: %w", err)
	}
	return &syncer{dir: f}, nil
}

func (s *syncer) close() { _ = s.dir.Close() }

// sync returns when a sync that began after the call has ended. Once a sync has
// failed, all later ones fail: nobody knows what is on disk.
// Errors: [*UnavailableError].
func (s *syncer) sync(ctx context.Context) error {
	s.mu.Lock()
	round := s.next
	if round == nil {
		round = &syncRound{done: make(chan struct{})}
		s.next = round
		go s.run(round)
	}
	s.mu.Unlock()

	select {
	case <-round.done:
	case <-ctx.Done():
		return Unavailable("sync to the disk", context.Cause(ctx))
	}
	if round.err != nil {
		return Unavailable("sync to the disk", round.err)
	}
	return nil
}

// run syncs, after the sync under way.
func (s *syncer) run(round *syncRound) {
	s.running.Lock()
	defer s.running.Unlock()
	defer close(round.done)

	s.mu.Lock()
	s.next = nil // later calls may have written something that this sync misses
	round.err = s.failed
	s.mu.Unlock()
	if round.err != nil {
		return
	}

	if round.err = syncFileSystem(s.dir); round.err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed = round.err
	}
}
