package access

import (
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleTime is how long after a first event files are read. Who writes them
	// may need several steps.
	settleTime = 50 * time.Millisecond

	// pollInterval is how often files are read without an event: some network and
	// container file systems tell of none, and neither does a directory that was
	// replaced itself.
	pollInterval = 30 * time.Second
)

// watcher loads files, and loads them again when what is in them changes.
type watcher struct {
	what   string
	paths  []string
	load   func(contents [][]byte) error
	logger *slog.Logger

	seen    [sha256.Size]byte // of what was loaded, or failed to, last
	events  *fsnotify.Watcher // nil if there are none
	stop    chan struct{}
	running sync.WaitGroup
}

// watch loads the files at paths, and again after every change until close. Load
// gets what is in them all; when it fails, after the first time, that is logged.
func watch(what string, paths []string, load func([][]byte) error, logger *slog.Logger) (*watcher, error) {
	w := &watcher{what: what, paths: paths, load: load, logger: logger, stop: make(chan struct{})}
	w.subscribe() // before the first look, so that no change falls between
	if _, err := w.look(); err != nil {
		w.close()
		return nil, err
	}
	w.running.Go(w.run)
	return w, nil
}

// subscribe asks for the events of the directories: a file that is replaced, as
// editors do, or that a symbolic link leads to, as in Kubernetes, has none.
func (w *watcher) subscribe() {
	var err error
	if w.events, err = fsnotify.NewWatcher(); err == nil {
		for _, path := range w.paths {
			if err = w.events.Add(filepath.Dir(path)); err != nil {
				break
			}
		}
	}
	if err != nil {
		w.logger.Warn("the file system does not tell of changes, so they are looked for now and then", "files", w.paths, "every", pollInterval, "error", err)
	}
}

func (w *watcher) close() {
	close(w.stop)
	w.running.Wait()
	if w.events != nil {
		_ = w.events.Close()
	}
}

func (w *watcher) run() {
	var events <-chan fsnotify.Event
	var missed <-chan error // events were lost
	if w.events != nil {
		events, missed = w.events.Events, w.events.Errors
	}
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	var settled <-chan time.Time
	for {
		select {
		case <-w.stop:
			return
		case <-events:
		case <-missed:
		case <-poll.C:
		case <-settled:
			settled = nil
			w.reload()
			continue
		}
		if settled == nil {
			settled = time.After(settleTime)
		}
	}
}

func (w *watcher) reload() {
	changed, err := w.look()
	switch {
	case err != nil && changed:
		w.logger.Error("a change was refused; what was loaded before stays in use", "what", w.what, "files", w.paths, "error", err)
	case changed:
		w.logger.Info("a change was loaded", "what", w.what, "files", w.paths)
	}
}

// look reads the files and loads them if something changed. The same mistake is
// none, so that it is logged once.
func (w *watcher) look() (changed bool, err error) {
	contents := make([][]byte, len(w.paths))
	sum := sha256.New()
	for i, path := range w.paths {
		content, readErr := os.ReadFile(path)
		if readErr != nil && err == nil {
			err = readErr
			sum.Write([]byte(err.Error()))
		}
		part := sha256.Sum256(content)
		sum.Write(part[:])
		contents[i] = content
	}
	seen := [sha256.Size]byte(sum.Sum(nil))
	if seen == w.seen {
		return false, err
	}
	w.seen = seen
	if err != nil {
		return true, err
	}
	return true, w.load(contents)
}
