package engine

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"
)

// A DirCheck is what a check of a data directory found.
type DirCheck struct {
	Format  int // its format version
	Streams []StreamCheck
}

// CheckDir checks all files of a data directory that no process uses, and changes none of
// them. It calls read, from several goroutines, with the number of bytes that it has read of
// those that [BlockBytes] returns. Errors: [*DirInUseError], [*NewerFormatError],
// [*UnreadableFormatError], [*NewerEngineError].
func CheckDir(dir string, read func(bytes int)) (found DirCheck, err error) {
	if _, err := os.Stat(filepath.Join(dir, StreamsDir)); err != nil {
		return found, fmt.Errorf("this is not a data directory of dq: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return found, err
	}
	defer func() { _ = lock.Close() }()

	s := &Server{opts: server.Options{StoreDir: dir}}
	if found.Format, err = checkFormat(dir); err != nil {
		return found, err
	}
	if err := s.checkEngineLevels(); err != nil {
		return found, err
	}

	_, known := os.Stat(filepath.Join(dir, formatFile))
	checks, err := s.checkEverything(readLastRun(dir, known == nil), read)
	for _, c := range checks {
		c.Damage, c.Torn, c.Mended = s.locate(c, c.Damage), s.locate(c, c.Torn), s.locate(c, c.Mended)
		found.Streams = append(found.Streams, c.StreamCheck)
	}
	return found, err
}

// checkEverything reads all files of all streams.
func (s *Server) checkEverything(run lastRun, read func(bytes int)) ([]*checker, error) {
	dirs, err := s.streamDirs()
	if err != nil {
		return nil, err
	}
	aside, err := s.asideDirs()
	if err != nil {
		return nil, err
	}
	dirs = slices.Concat(slices.DeleteFunc(dirs, isNoStream), aside)

	checks := make([]*checker, len(dirs))
	var group errgroup.Group
	group.SetLimit(checksAtOnce())
	for i, dir := range dirs {
		checks[i] = &checker{dir: dir, run: run, full: true, read: read}
		group.Go(checks[i].check)
	}
	return checks, group.Wait()
}

// BlockBytes returns how many bytes of messages a data directory has.
func BlockBytes(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, blockSuffix) {
			if info, err := entry.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}
