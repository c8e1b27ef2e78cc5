package engine

import (
	"context"
	"fmt"
	"os"
	"sync"
)

// A syncer brings what the engine has written to the disk. Those who ask at the
// same time share one sync, which takes as long for many as for one. Since the
// engine writes to its files before it confirms, all that was confirmed before
// a sync began is on the disk when it has ended.
type syncer struct {
	dir *os.File // on the file system that is synced

	running sync.Mutex
	mu      sync.Mutex
	next    *syncRound // has not begun
	failed  error
}

// syncRound is one sync.
type syncRound struct {
	done chan struct{}
	err  error
}

// openSyncer returns a syncer of the file system that dir is on, or nil if this
// operating system cannot do that.
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

// sync returns when a sync that began after the call has ended. Once one has
// failed, all do: nobody knows what the disk has.
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

func (s *syncer) run(round *syncRound) {
	s.running.Lock()
	defer s.running.Unlock()
	defer close(round.done)
	s.mu.Lock()
	s.next = nil // who comes from now on may have something that this sync misses
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
