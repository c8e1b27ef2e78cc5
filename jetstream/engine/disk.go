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
	// New data is refused while the disk has less free space than a reserve: what is
	// consumed, acknowledged and deleted must be written, too. The reserve is
	// maxReserve, or on small disks one part in reserveParts of the disk.
	maxReserve   = 64 << 20
	reserveParts = 16

	// lookInterval is how often the free space is read. It is also read when the
	// data stored since may have used it up.
	lookInterval = 100 * time.Millisecond

	// maxBudget is the most bytes that are stored before the free space is read
	// again.
	maxBudget = 1 << 30

	// messageOverhead is the most that the engine stores in addition to the data of
	// a message.
	messageOverhead = 1 << 10

	// restartPause is the pause between two restarts on a full disk. There the
	// engine can at least purge and delete.
	restartPause = 5 * time.Second

	// restartFiles is how many more files the process must be able to open for the
	// engine to be restarted: it would leave out topics whose files it cannot open.
	restartFiles = 256
)

// A diskWatch refuses new data before the disk is full, and restarts the engine after
// a failed write.
//
// Once a write to a stream has failed, the engine does not write to that stream again
// before a restart, not even when there is space. So new data is refused early. If a
// write fails all the same, the engine is restarted as soon as there is space.
// Nothing is lost by that: everything that was confirmed is in the engine's files.
type diskWatch struct {
	dir     string
	space   func(dir string) (free, total uint64, err error) // diskSpace, or a test's
	restart func() error
	log     *slog.Logger

	failed atomic.Bool                      // a write has failed
	budget atomic.Int64                     // bytes that may be stored before the free space is read again
	full   atomic.Pointer[StorageFullError] // nil while new data is taken

	looking   sync.Mutex
	restarted time.Time // used only by run
}

// checkSpace returns a [*StorageFullError] if the disk has no room for that many
// bytes in that many messages.
func (w *diskWatch) checkSpace(messages, bytes int) error {
	if w.budget.Add(-int64(bytes+messages*messageOverhead)) < 0 {
		w.look()
	}
	if err := w.full.Load(); err != nil {
		return err
	}
	return nil
}

// run watches the disk until ctx ends.
func (w *diskWatch) run(ctx context.Context) {
	ticks := time.NewTicker(lookInterval)
	defer ticks.Stop()

	for {
		w.look()
		if w.failed.Load() && w.canRestart() {
			w.restartEngine()
		}

		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
	}
}

// look reads the free space, and decides whether new data is taken.
func (w *diskWatch) look() {
	w.looking.Lock()
	defer w.looking.Unlock()

	free, total, err := w.space(w.dir)
	if err != nil {
		w.log.Error("cannot read the free space of the data directory", "error", err)
		return
	}
	reserve := min(maxReserve, total/reserveParts)
	w.keepSpare(free, reserve)
	w.budget.Store(int64(min(free-min(free, reserve), maxBudget)))

	switch was := w.full.Load(); {
	case free < reserve || w.failed.Load():
		w.full.Store(&StorageFullError{Free: free, Reserve: reserve})
		if was == nil || was.hasSpace() && free < reserve {
			w.logRefusal(free, reserve)
		}
	case was != nil:
		w.full.Store(nil)
		w.log.Info("taking new data again", "dir", w.dir, "free", free)
	}
}

// logRefusal says why new data is refused.
func (w *diskWatch) logRefusal(free, reserve uint64) {
	why := "the disk is full"
	if free >= reserve {
		why = "a write failed, and the engine must be restarted"
	}
	w.log.Error(why+": refusing new data", "dir", w.dir, "free", free, "reserve", reserve)
}

// canRestart reports whether the engine can be restarted: the disk has space, or the
// last restart is long enough ago, and the process can open files.
func (w *diskWatch) canRestart() bool {
	return canOpen(w.dir, restartFiles) && (w.full.Load().hasSpace() || time.Since(w.restarted) > restartPause)
}

// canOpen reports whether this process can open n more files.
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

func (w *diskWatch) restartEngine() {
	w.log.Warn("restarting the engine after a failed write")
	w.failed.Store(false)
	if err := w.restart(); err != nil {
		w.failed.Store(true)
		w.log.Error("restarting the engine failed, trying again later", "error", err)
	}
	w.restarted = time.Now()
}
