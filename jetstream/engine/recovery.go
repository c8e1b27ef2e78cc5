package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	// TopicPrefix starts the name of each stream that holds a topic, and of no other
	// stream. It is defined here because a start treats half-deleted topics in a way
	// of its own; the package jetstream encodes the rest of the name.
	TopicPrefix = "dq_"

	// TopicSubjects are the subjects of the messages of all topics.
	TopicSubjects = "dq.*.*"

	// StreamsDir has a directory for each stream. It lies below the data directory.
	StreamsDir = "jetstream/$G/streams"

	// deletedDir, below the data directory, gets the files of half-deleted topics.
	deletedDir = "deleted"

	settingsFile = "meta.inf" // the settings of a stream or consumer, in JSON
	checksumFile = "meta.sum" // of the file of settings
	consumersDir = "obs"      // has a directory for each consumer of a stream
	blocks       = "msgs/*.blk"
)

// start starts the nats-server on the store, and makes sure that it serves every stream that is not damaged. A
// nats-server only logs that it leaves out a stream that it cannot use; a client could then create the topic again in
// its place. The parameter run says how the last run ended.
// Errors: [*DamagedError], [*LostStreamsError].
func (s *Server) start(run lastRun) error {
	if err := s.finishDeletions(); err != nil {
		return err
	}
	if err := s.checkFiles(run); err != nil {
		return err
	}
	s.recordRun()

	ns, err := s.startNATS()
	if err != nil {
		return err
	}
	lost, err := s.lostStreams(ns)
	if err == nil && len(lost) > 0 {
		err = &LostStreamsError{Dirs: lost}
	}
	if err != nil {
		stopNATS(ns)
		return err
	}

	s.mu.Lock()
	s.ns = ns
	s.mu.Unlock()
	return nil
}

// finishDeletions moves away the files of topics that were being deleted when the
// process ended; they have no settings, as the engine removes these first. Left in
// place, their messages would appear in the next topic of that name. They are not
// removed, because a damaged disk may look the same.
func (s *Server) finishDeletions() error {
	dirs, err := s.streamDirs()
	if err != nil {
		return err
	}

	for _, dir := range dirs {
		name := filepath.Base(dir)
		_, err := os.Stat(filepath.Join(dir, settingsFile))
		deleted := errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(name, TopicPrefix)
		if !deleted || isUnfinished(dir) {
			continue
		}

		target := filepath.Join(s.opts.StoreDir, deletedDir, fmt.Sprintf("%s-%d", name, time.Now().UnixNano()))
		if err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o750), os.Rename(dir, target)); err != nil {
			return fmt.Errorf("move away the files of a topic that was being deleted: %w", err)
		}
		s.logger.log.Warn("a topic was being deleted when the broker ended: "+
			"its remaining files were moved away, and may be removed", "dir", target)
	}
	return nil
}

// RemoveDeletedFiles removes the files of an earlier stream of that name which was
// deleted. The engine moves the files of a deleted stream to one place for each name,
// and removes them there in the background. As long as they exist, it cannot move the
// files of the next stream of that name, and the one created after it would start
// with messages that were deleted.
func (s *Server) RemoveDeletedFiles(stream string) error {
	if err := os.RemoveAll(filepath.Join(s.opts.StoreDir, StreamsDir, "."+stream)); err != nil {
		return fmt.Errorf("remove the files of %s, which was deleted before: %w", stream, err)
	}
	return nil
}

// lostStreams returns the directories of the streams that the nats-server has left
// out.
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
		if name := filepath.Base(dir); !names[name] && !strings.HasPrefix(name, ".") && !isUnfinished(dir) {
			lost = append(lost, dir)
		}
	}
	return lost, nil
}

// streamDirs returns the directories of all streams in the store.
func (s *Server) streamDirs() (dirs []string, err error) {
	parent := filepath.Join(s.opts.StoreDir, StreamsDir)
	entries, err := os.ReadDir(parent)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the directories of streams: %w", err)
	}
	for _, entry := range entries {
		dirs = append(dirs, filepath.Join(parent, entry.Name()))
	}
	return dirs, nil
}

// streamNames returns the names of the streams that the nats-server serves.
func (s *Server) streamNames(ns *server.Server) (map[string]bool, error) {
	nc, err := openConn("", s.logger.log, s.clients.login(), nats.InProcessServer(ns))
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

// isUnfinished reports whether dir is that of a stream whose creation or deletion a
// process did not finish: it holds no message, and lacks settings or their checksum.
func isUnfinished(dir string) bool {
	messages, err := filepath.Glob(filepath.Join(dir, blocks))
	if err != nil || slices.ContainsFunc(messages, func(path string) bool { return !isEmpty(path) }) {
		return false
	}
	return isEmpty(filepath.Join(dir, settingsFile)) || isEmpty(filepath.Join(dir, checksumFile))
}

// isEmpty reports whether a file is empty or does not exist.
func isEmpty(path string) bool {
	info, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0
}

// checksum returns the engine's checksum of a file of settings. The key is the name of the
// stream or, for a consumer, STREAM/CONSUMER.
func checksum(key string, settings []byte) string {
	sum := sha256.Sum256([]byte(key))
	hash, err := highwayhash.New64(sum[:])
	if err != nil {
		panic(err) // the key has the right length
	}
	_, _ = hash.Write(settings) // never fails
	return hex.EncodeToString(hash.Sum(nil))
}
