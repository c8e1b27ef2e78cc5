package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// runningFile, in the data directory, exists while a process uses the directory. If a start finds it, the last run
	// did not end normally.
	runningFile = "running"

	// aliveInterval is how often the time of that file is set to now.
	aliveInterval = 10 * time.Second

	// syncSlack is added to the time for which data may not have been synced: the engine starts
	// a sync for each stream by a timer, and they take time.
	syncSlack = 5 * time.Second
)

// How a run ended.
const (
	endUnknown  = iota // there is no record of it: an older dq
	endInOrder         // everything was written
	endKilled          // everything that was written is there
	endPowerCut        // what was not synced may be missing
)

// A lastRun says how the last run on a data directory ended, and so which missing data is no damage.
type lastRun struct {
	end      int
	unsynced time.Time // after endPowerCut, what was stored since then may be missing
}

// runRecord is the content of the file in JSON.
type runRecord struct {
	Boot string        `json:"boot"`           // which boot of the operating system; "" if that is not known
	Sync time.Duration `json:"sync_within_ns"` // how long data may wait for a sync
}

// readLastRun finds out how the last run ended. The parameter known says that the last dq that used the directory
// writes a record.
func readLastRun(dir string, known bool) lastRun {
	path := filepath.Join(dir, runningFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && known {
		return lastRun{end: endInOrder}
	}
	info, statErr := os.Stat(path)
	var record runRecord
	if err != nil || statErr != nil || json.Unmarshal(text, &record) != nil {
		return lastRun{end: endUnknown}
	}

	if record.Boot != "" && record.Boot == bootID() {
		return lastRun{end: endKilled}
	}
	return lastRun{end: endPowerCut, unsynced: info.ModTime().Add(-2*record.Sync - syncSlack)}
}

// recordRun records that a process uses the directory. If the disk has no room for that, it records that nothing is
// known about this run.
func (s *Server) recordRun() {
	if s.dir == "" {
		return
	}
	text, err := json.Marshal(runRecord{Boot: bootID(), Sync: s.syncWithin})
	path := filepath.Join(s.dir, runningFile)
	if err = errors.Join(err, replaceFile(path, text)); err != nil {
		err = errors.Join(err, os.WriteFile(path, nil, 0o600))
		s.logger.log.Warn("cannot record that this process uses the data directory", "file", path, "error", err)
	}
}

// stayAlive keeps the time of the record current until ctx ends.
func (s *Server) stayAlive(ctx context.Context) {
	ticks := time.NewTicker(aliveInterval)
	defer ticks.Stop()
	for {
		select {
		case now := <-ticks.C:
			_ = os.Chtimes(filepath.Join(s.dir, runningFile), now, now)
		case <-ctx.Done():
			return
		}
	}
}

// recordEnd records that the run ended normally.
func recordEnd(dir string) {
	_ = os.Remove(filepath.Join(dir, runningFile))
	_ = syncDir(dir)
}

// bootID identifies this boot of the operating system. It is "" where that is not known.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// explains reports whether the end of the run explains a gap at the end of the last block:
// the write that was under way then, and was not confirmed.
func (r lastRun) explains(g gap) bool {
	switch r.end {
	case endKilled:
		return g.incomplete
	case endPowerCut, endUnknown:
		return g.incomplete || g.atEnd && g.zeros
	}
	return false
}

// lost reports whether a power cut explains a gap, because it was stored shortly before.
func (r lastRun) lost(g gap) bool {
	return r.end == endPowerCut && g.time != 0 && time.Unix(0, g.time).After(r.unsynced)
}
