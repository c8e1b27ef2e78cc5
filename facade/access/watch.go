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
	// quietTime is how long after a first event the files are read. A program that
	// writes them may need several steps.
	quietTime = 50 * time.Millisecond

	// pollInterval is how often the files are read without an event: some network and
	// container file systems send none, and neither does a directory that was itself
	// replaced.
	pollInterval = 30 * time.Second
)

// watcher loads files, and loads them again when their content changes.
type watcher struct {
	what   string
	paths  []string
	load   func(contents [][]byte) error
	logger *slog.Logger

	seen    [sha256.Size]byte // the hash of the content, or error, that was last handled
	events  *fsnotify.Watcher // nil if the system has none
	stop    chan struct{}
	running sync.WaitGroup
}

// watch loads the files at paths, and again after every change until close. It calls
// load with the content of all of them. An error of the first load is returned,
// those of later ones are logged.
func watch(what string, paths []string, load func([][]byte) error, logger *slog.Logger) (*watcher, error) {
	w := &watcher{what: what, paths: paths, load: load, logger: logger, stop: make(chan struct{})}
	w.subscribe() // before the first check, so that no change is missed

	if _, err := w.check(); err != nil {
		w.close()
		return nil, err
	}
	w.running.Go(w.run)
	return w, nil
}

// subscribe asks for the events of the directories of the files. A file that editors
// replace, or that a symbolic link points to, as in Kubernetes, has no events itself.
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
		w.logger.Warn("the file system reports no changes, so the files are read at intervals",
			"files", w.paths, "interval", pollInterval, "error", err)
	}
}

func (w *watcher) close() {
	close(w.stop)
	w.running.Wait()
	if w.events != nil {
		_ = w.events.Close()
	}
}

// run checks the files soon after each event, and at intervals, until close.
func (w *watcher) run() {
	var events <-chan fsnotify.Event
	var lost <-chan error // reports that events were lost
	if w.events != nil {
		events, lost = w.events.Events, w.events.Errors
	}

	poll := time.NewTicker(pollInterval)
	defer poll.Stop()

	var quiet <-chan time.Time // nil: no event since the last check
	for {
		select {
		case <-w.stop:
			return
		case <-events:
		case err := <-lost:
			w.logger.Debug("lost events of the file system", "files", w.paths, "error", err)
		case <-poll.C:
		case <-quiet:
			quiet = nil
			w.reload()
			continue
		}

		if quiet == nil {
			quiet = time.After(quietTime)
		}
	}
}

// reload checks the files and logs what changed.
func (w *watcher) reload() {
	changed, err := w.check()
	switch {
	case err != nil && changed:
		w.logger.Error("refused a change of the files; what was loaded before stays in use",
			"what", w.what, "files", w.paths, "error", err)
	case changed:
		w.logger.Info("loaded a change of the files", "what", w.what, "files", w.paths)
	}
}

// check reads the files and loads them if their content changed. The same error as
// last time is not a change, so that it is logged once.
func (w *watcher) check() (changed bool, err error) {
	contents, seen, err := w.read()
	if seen == w.seen {
		return false, err
	}

	w.seen = seen
	if err != nil {
		return true, err
	}
	return true, w.load(contents)
}

// read returns the content of the files, the first error of reading them, and a hash
// that differs if either does.
func (w *watcher) read() (contents [][]byte, hash [sha256.Size]byte, err error) {
	contents = make([][]byte, len(w.paths))
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
	return contents, [sha256.Size]byte(sum.Sum(nil)), err
}
