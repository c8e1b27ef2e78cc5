package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// streamsDir has a directory for each stream, below the data directory.
	StreamsDir = "jetstream/$G/streams"

	// leftDir has what was left of topics that were deleted, below the data directory.
	leftDir = "deleted"

	metaFile = "meta.inf" // a stream's settings, in JSON
	sumFile  = "meta.sum" // its checksum
	blocks   = "msgs/*.blk"
)

// LostStreamsError is streams whose files are there and cannot be used.
type LostStreamsError struct{ Dirs []string }

func (e *LostStreamsError) Error() string {
	return fmt.Sprintf("the engine cannot use the stream in %s (of %d such): its log says why; restore the directory from a backup, or move it away to start without what it holds",
		e.Dirs[0], len(e.Dirs))
}

// start starts the engine, and returns an error if it left out a stream: it only
// logs that, and a client could make the topic anew in place of the old one. Where
// nothing but the checksum of the settings is wrong, as when a process ended
// between writing one and the other, it is mended.
func (s *Server) start() error {
	if err := s.finishDeletions(); err != nil {
		return err
	}
	mended := make(map[string]bool)
	for {
		ns, err := s.startEngine()
		if err != nil {
			return err
		}
		lost, err := s.lostStreams(ns)
		if err == nil && len(lost) == 0 {
			s.mu.Lock()
			s.ns = ns
			s.mu.Unlock()
			return nil
		}
		stopEngine(ns)
		if err != nil {
			return err
		}
		for _, dir := range lost {
			if mended[dir] || mendSum(dir) != nil {
				return &LostStreamsError{lost}
			}
			mended[dir] = true
			s.logger.log.Warn("the checksum of a stream's settings is written anew, as the engine left the stream out", "dir", dir)
		}
	}
}

// finishDeletions moves away what is left of topics that were deleted when the
// process ended: the engine removes the file of their settings first. It would
// give their messages to the next topic of that name. They are not removed, as a
// damaged disk may look the same.
func (s *Server) finishDeletions() error {
	dirs, err := s.streamDirs()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		name := filepath.Base(dir)
		if _, err := os.Stat(filepath.Join(dir, metaFile)); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(name, TopicPrefix) {
			continue
		}
		if unfinished(dir) {
			continue // there is nothing in it
		}
		away := filepath.Join(s.opts.StoreDir, leftDir, fmt.Sprintf("%s-%d", name, time.Now().UnixNano()))
		if err := errors.Join(os.MkdirAll(filepath.Dir(away), 0o750), os.Rename(dir, away)); err != nil {
			return fmt.Errorf("move away what is left of a topic that was deleted: %w", err)
		}
		s.logger.log.Warn("a topic was being deleted when the broker ended; what was left of it is moved away, and may be removed", "dir", away)
	}
	return nil
}

// RemoveDeletedFiles removes what the engine has not removed yet of streams of that name that
// were deleted. It moves their files away and takes its time with them; while they
// are there it cannot move others, which a stream that is made anew then takes for
// its own.
func (s *Server) RemoveDeletedFiles(stream string) error {
	if err := os.RemoveAll(filepath.Join(s.opts.StoreDir, StreamsDir, "."+stream)); err != nil {
		return fmt.Errorf("remove the files of %s, which was deleted before: %w", stream, err)
	}
	return nil
}

// lostStreams are the directories of streams that the engine does not have.
func (s *Server) lostStreams(ns *server.Server) ([]string, error) {
	dirs, err := s.streamDirs()
	if err != nil || len(dirs) == 0 {
		return nil, err
	}
	names, err := s.streamNames(ns)
	if err != nil {
		return nil, err
	}
	var lost []string
	for _, dir := range dirs {
		if name := filepath.Base(dir); !names[name] && !strings.HasPrefix(name, ".") && !unfinished(dir) {
			lost = append(lost, dir)
		}
	}
	return lost, nil
}

// streamDirs are the directories of streams that there are.
func (s *Server) streamDirs() (dirs []string, err error) {
	parent := filepath.Join(s.opts.StoreDir, StreamsDir)
	entries, err := os.ReadDir(parent)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look at the streams: %w", err)
	}
	for _, entry := range entries {
		dirs = append(dirs, filepath.Join(parent, entry.Name()))
	}
	return dirs, nil
}

// streamNames are the names of the streams that the engine has.
func (s *Server) streamNames(ns *server.Server) (map[string]bool, error) {
	nc, err := Connect("", s.login, nats.InProcessServer(ns))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("connect to the engine: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	names := make(map[string]bool)
	list := js.StreamNames(ctx)
	for name := range list.Name() {
		names[name] = true
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the streams: %w", err)
	}
	return names, nil
}

// unfinished reports whether dir is what is left when a process ends while it
// makes a stream, or removes one: there is no message in it.
func unfinished(dir string) bool {
	empty := func(path string) bool {
		info, err := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0
	}
	messages, err := filepath.Glob(filepath.Join(dir, blocks))
	if err != nil || slices.ContainsFunc(messages, func(path string) bool { return !empty(path) }) {
		return false
	}
	return empty(filepath.Join(dir, metaFile)) || empty(filepath.Join(dir, sumFile))
}

// mendSum writes the checksum of a stream's settings anew. The engine replaces a
// file of settings as a whole, so one that is JSON is complete.
func mendSum(dir string) error {
	settings, err := os.ReadFile(filepath.Join(dir, metaFile))
	if err != nil {
		return err
	}
	var stream struct{ Name string }
	if err := json.Unmarshal(settings, &stream); err != nil {
		return err
	}
	if name := filepath.Base(dir); stream.Name != name {
		return fmt.Errorf("the settings in %s are those of %s", dir, stream.Name)
	}
	key := sha256.Sum256([]byte(stream.Name))
	hash, err := highwayhash.New64(key[:])
	if err != nil {
		return err
	}
	_, _ = hash.Write(settings) // never fails
	temporary := filepath.Join(dir, sumFile+".new")
	if err := os.WriteFile(temporary, []byte(hex.EncodeToString(hash.Sum(nil))), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(dir, sumFile))
}

const (
	// TopicPrefix keeps the streams of topics apart from any other stream of
	// the same NATS account.
	TopicPrefix = "dq_"
)
