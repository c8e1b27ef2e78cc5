package engine

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// No new data is taken while less than this is free on the disk: what is
	// consumed, acknowledged and deleted has to be written, too. On small disks
	// it is a part of them.
	maxReserve  = 64 << 20
	reservePart = 16

	// diskInterval is how often the disk is looked at, besides when what was taken
	// since may have filled it.
	diskInterval = 100 * time.Millisecond

	// messageRoom is what the engine stores beside a message, at most.
	messageRoom = 1 << 10

	// restartPause is that between two starts of the engine on a full disk, where
	// it can at least purge and delete.
	restartPause = 5 * time.Second
)

// A diskWatch knows whether there is room for new data.
//
// The engine does not write to a stream again once a write has failed, not even
// when there is room again, until it is started anew. So this stops new data
// before the disk is full. Should a write fail all the same, it has the engine
// started anew as soon as there is room: all that was confirmed is in its files.
type diskWatch struct {
	dir     string
	restart func() error
	log     *slog.Logger

	failed atomic.Bool  // a write has failed
	budget atomic.Int64 // bytes that may be taken before the next look
	state  atomic.Pointer[StorageFullError]

	looking sync.Mutex
	started time.Time // when the engine was started anew
}

// room returns a [*StorageFullError] if there is none for so many bytes in that
// many messages.
func (w *diskWatch) room(messages, bytes int) error {
	if w.budget.Add(-int64(bytes+messages*messageRoom)) < 0 {
		w.look()
	}
	if err := w.state.Load(); err != nil {
		return err
	}
	return nil
}

// run watches until ctx ends.
func (w *diskWatch) run(ctx context.Context) {
	ticks := time.NewTicker(diskInterval)
	defer ticks.Stop()
	for {
		w.look()
		if w.failed.Load() && canOpen(w.dir, restartFiles) && (w.state.Load().fits() || time.Since(w.started) > restartPause) {
			w.startAnew()
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

// look looks at the disk.
func (w *diskWatch) look() {
	w.looking.Lock()
	defer w.looking.Unlock()
	free, total, err := diskSpace(w.dir)
	if err != nil {
		w.log.Error("the free space of the data directory is unknown", "error", err)
		return
	}
	reserve := min(maxReserve, total/reservePart)
	w.budget.Store(int64(min(free-min(free, reserve), maxBudget)))
	switch was := w.state.Load(); {
	case free < reserve || w.failed.Load():
		w.state.Store(&StorageFullError{Free: free, Reserve: reserve})
		if was == nil {
			w.log.Error("no new data is taken: the disk is full", "dir", w.dir, "free", free, "reserve", reserve)
		}
	case was != nil:
		w.state.Store(nil)
		w.log.Info("new data is taken again", "dir", w.dir, "free", free)
	}
}

// restartFiles is how many files have to be free for the engine to be started
// anew: it would leave out the topics whose files it cannot open.
const restartFiles = 256

// canOpen reports whether this process may open so many more files.
func canOpen(dir string, n int) bool {
	files := make([]*os.File, 0, n)
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for range n {
		f, err := os.Open(dir)
		if err != nil {
			return false
		}
		files = append(files, f)
	}
	return true
}

// maxBudget is how many bytes are taken at most before the disk is looked at.
const maxBudget = 1 << 30

func (w *diskWatch) startAnew() {
	w.log.Warn("the engine is started anew, as a write had failed")
	w.failed.Store(false)
	if err := w.restart(); err != nil {
		w.failed.Store(true)
		w.log.Error("the engine could not be started anew", "error", err)
	}
	w.started = time.Now()
}
