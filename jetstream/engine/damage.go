package engine

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// damagedDir, below the data directory, has the directories of damaged streams, which are not
// served, and for each repair a directory STREAM.TIME with the files as they were. The name of
// a stream has no dot.
const damagedDir = "damaged"

// checkBudget is how many bytes of blocks a start reads only to check them, which takes less than a second.
const checkBudget = 256 << 20

// A StreamDamage says which files of a stream are damaged. The stream is not served.
type StreamDamage struct {
	Stream string
	Files  []FileDamage // at least one
}

// Messages returns how many messages are lost, at most.
func (d *StreamDamage) Messages() (n uint64) {
	for _, f := range d.Files {
		n += f.Messages
	}
	return n
}

// String says what is damaged, and which messages are lost.
func (d *StreamDamage) String() string {
	texts := make([]string, 0, len(d.Files))
	for _, f := range d.Files {
		texts = append(texts, f.String())
	}
	return strings.Join(texts, "; ")
}

// String says what is wrong with the file, and which messages are lost.
func (d FileDamage) String() string {
	text := d.File + ": " + d.Problem
	if d.At > 0 {
		text += fmt.Sprintf(" at byte %d", d.At)
	}
	switch {
	case d.Messages == 1:
		text += fmt.Sprintf("; message %d is lost", d.First)
	case d.Messages > 1:
		text += fmt.Sprintf("; of messages %d to %d up to %d are lost", d.First, d.Last, d.Messages)
	}
	return text
}

// Damaged returns what is wrong with a stream that is not served because it is damaged, and
// nil for any other.
func (s *Server) Damaged(stream string) *StreamDamage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.damaged[stream]
}

// AllDamaged returns the streams that are not served because they are damaged, by their names.
func (s *Server) AllDamaged() []*StreamDamage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*StreamDamage, 0, len(s.damaged))
	for _, d := range s.damaged {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *StreamDamage) int { return cmp.Compare(a.Stream, b.Stream) })
	return all
}

// Lost returns how many messages of a stream were lost, at most, by damage that was accepted at
// this start.
func (s *Server) Lost(stream string) uint64 { return s.lost[stream] }

// checkFiles checks the files that the nats-server is about to read. The nats-server would cut off a damaged part, with
// all that follows in the file, and give the lost sequences out again. A damaged stream is set aside or, if its damage
// is accepted, repaired. Errors: [*DamagedError] for a stream without which nothing works.
func (s *Server) checkFiles(run lastRun) error {
	dirs, err := s.streamDirs()
	if err != nil {
		return err
	}
	aside, err := s.asideDirs()
	if err != nil {
		return err
	}

	dirs = slices.DeleteFunc(dirs, isNoStream)
	checks, err := s.checkAll(slices.Concat(dirs, aside), run)
	if err != nil {
		return err
	}

	var fatal []*StreamDamage
	damaged := make(map[string]*StreamDamage)
	for _, c := range checks {
		found, err := s.treat(c)
		switch {
		case err != nil:
			return err
		case found != nil && s.isRequired(c.Stream):
			fatal = append(fatal, found)
		case found != nil:
			damaged[c.Stream] = found
		}
	}
	if len(fatal) > 0 {
		return &DamagedError{Stream: *fatal[0], Holds: s.required[fatal[0].Stream], Streams: len(fatal)}
	}

	s.mu.Lock()
	s.damaged = damaged
	s.mu.Unlock()
	return nil
}

// isNoStream reports whether a directory of a stream holds none: it was deleted, or its
// creation was not finished.
func isNoStream(dir string) bool {
	return strings.HasPrefix(filepath.Base(dir), ".") || isUnfinished(dir)
}

// checksAtOnce is how many streams are checked at a time.
func checksAtOnce() int { return runtime.GOMAXPROCS(0) }

// asideDirs returns the directories of streams that were set aside.
func (s *Server) asideDirs() (dirs []string, err error) {
	entries, err := os.ReadDir(filepath.Join(s.opts.StoreDir, damagedDir))
	if skipMissing(err) != nil {
		return nil, fmt.Errorf("list the damaged streams: %w", err)
	}
	for _, entry := range entries {
		if entry.IsDir() && !strings.Contains(entry.Name(), ".") {
			dirs = append(dirs, filepath.Join(s.opts.StoreDir, damagedDir, entry.Name()))
		}
	}
	return dirs, nil
}

// checkAll checks the streams in dirs, several at a time. Of streams that were set aside, and of those without which
// nothing works, it reads all blocks. Of the others it reads the blocks that the nats-server will read, and up to
// checkBudget bytes of the rest.
func (s *Server) checkAll(dirs []string, run lastRun) ([]*checker, error) {
	checks := make([]*checker, len(dirs))
	var budget atomic.Int64
	budget.Store(checkBudget)
	var group errgroup.Group
	group.SetLimit(checksAtOnce())
	for i, dir := range dirs {
		full := s.isAside(dir) || s.isRequired(filepath.Base(dir))
		checks[i] = &checker{dir: dir, run: run, full: full, budget: &budget}
		group.Go(checks[i].check)
	}

	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("check the files of the streams: %w", err)
	}
	return checks, nil
}

func (s *Server) isAside(dir string) bool {
	return filepath.Dir(dir) == filepath.Join(s.opts.StoreDir, damagedDir)
}

func (s *Server) isRequired(stream string) bool { return s.required[stream] != "" }

// treat logs what a check found, and repairs the stream or sets it aside. It returns the damage of a stream that cannot
// be served.
func (s *Server) treat(c *checker) (*StreamDamage, error) {
	damage := &StreamDamage{Stream: c.Stream, Files: s.locate(c, c.Damage)}
	for _, f := range s.locate(c, c.Torn) {
		s.logger.log.Warn("the newest data was lost at the end of the last run: "+f.Problem, f.attributes(c.Stream)...)
	}
	for _, f := range s.locate(c, c.Mended) {
		s.logger.log.Warn("repaired a damaged file, nothing is lost: "+f.Problem, f.attributes(c.Stream)...)
	}

	accepted := slices.Contains(s.accepted, c.Stream) && c.canRepair()
	for _, f := range damage.Files {
		what := "a damaged stream is not served: "
		if accepted {
			what = "serving what is left of a damaged stream: "
		}
		s.logger.log.Error(what+f.Problem, f.attributes(c.Stream)...)
	}
	switch {
	case len(damage.Files) > 0 && !accepted:
		return s.setAside(c, damage)
	case !c.needsRepair() && !s.isAside(c.dir):
		return nil, nil
	case len(damage.Files) > 0:
		s.lost[c.Stream] = damage.Messages()
	}
	return nil, s.repair(c)
}

// attributes returns what the log says about damage.
func (d FileDamage) attributes(stream string) []any {
	a := []any{"stream", stream, "file", d.File, "byte", d.At}
	if d.Messages > 0 {
		a = append(a, "first_sequence", d.First, "last_sequence", d.Last, "messages_at_most", d.Messages)
	}
	return a
}

// locate returns damage with files below the data directory.
func (s *Server) locate(c *checker, damage []FileDamage) []FileDamage {
	located := slices.Clone(damage)
	for i := range located {
		located[i].File = s.relative(filepath.Join(c.dir, located[i].File))
	}
	return located
}

func (s *Server) relative(path string) string {
	relative, err := filepath.Rel(s.opts.StoreDir, path)
	if err != nil {
		return path
	}
	return relative
}

// setAside moves a damaged stream to where the nats-server does not find it. A stream without which nothing works
// stays, because the start fails then.
func (s *Server) setAside(c *checker, damage *StreamDamage) (*StreamDamage, error) {
	if s.isAside(c.dir) || s.isRequired(c.Stream) {
		return damage, nil
	}

	target := filepath.Join(s.opts.StoreDir, damagedDir, c.Stream)
	err := os.MkdirAll(filepath.Dir(target), 0o750)
	if _, exists := os.Stat(target); exists == nil { // a backup was restored, and is damaged, too
		err = errors.Join(err, os.Rename(target, s.keepDir(c.Stream)))
	}
	err = errors.Join(err, os.Rename(c.dir, target), syncDir(filepath.Dir(target)), syncDir(filepath.Dir(c.dir)))
	if err != nil {
		return nil, fmt.Errorf("set a damaged stream aside: %w", err)
	}
	s.logger.log.Warn("moved the files of a damaged stream, which stay as they are", "dir", target)
	c.dir = target
	damage.Files = s.locate(c, c.Damage)
	return damage, nil
}

// keepDir returns a new directory for the files of stream as they were.
func (s *Server) keepDir(stream string) string {
	return filepath.Join(s.opts.StoreDir, damagedDir, fmt.Sprintf("%s.%d", stream, time.Now().UnixNano()))
}

// canRepair reports whether something is left that can be served: the settings are sound.
func (c *checker) canRepair() bool {
	return !slices.ContainsFunc(c.Damage, func(d FileDamage) bool { return filepath.Base(d.File) == settingsFile })
}

// repair makes the files of a stream sound, and puts the stream back into its place if it was set aside. If anything
// that was confirmed is lost, it keeps the damaged files.
func (s *Server) repair(c *checker) error {
	kept := s.keepDir(c.Stream)
	for _, r := range c.repairs {
		if err := r.apply(c.dir, kept); err != nil {
			return fmt.Errorf("repair %s: %w", filepath.Join(c.dir, r.file), err)
		}
	}
	if err := c.keepSequences(); err != nil {
		return fmt.Errorf("repair %s: %w", c.dir, err)
	}
	if _, err := os.Stat(kept); err == nil {
		s.logger.log.Info("kept the files of a repaired stream as they were; they may be removed", "dir", kept)
	}
	if !s.isAside(c.dir) {
		return nil
	}

	target := filepath.Join(s.opts.StoreDir, StreamsDir, c.Stream)
	if _, err := os.Stat(target); err == nil { // it was created again, or restored there
		return os.Rename(c.dir, kept+".replaced")
	}
	err := errors.Join(os.Rename(c.dir, target), syncDir(filepath.Dir(target)), syncDir(filepath.Dir(c.dir)))
	if err != nil {
		return fmt.Errorf("put a stream that was damaged back into its place: %w", err)
	}
	s.logger.log.Info("a stream that was damaged is served again", "stream", c.Stream)
	return nil
}

// needsRepair reports whether the files must change before the nats-server reads them.
func (c *checker) needsRepair() bool {
	return len(c.repairs) > 0 || len(c.Damage)+len(c.Torn) > 0 && c.highest > c.kept
}

// keepSequences adds a block after the others, so that the sequences of lost messages are not given out again, and
// makes sure that the nats-server reads the blocks.
func (c *checker) keepSequences() error {
	messages := filepath.Join(c.dir, filepath.Dir(c.final.file))
	if c.final.file == "" { // the blocks were not read
		return nil
	}
	if err := os.Remove(filepath.Join(messages, indexFile)); skipMissing(err) != nil {
		return err
	}
	if c.highest <= c.kept {
		return nil
	}

	number := c.final.number + 1
	if c.index != nil {
		number = max(number, c.index.lastBlock+1)
	}
	record := newBlockReader(c.Stream, number, nil).erasedRecord(c.highest, c.newest)
	return replaceFile(filepath.Join(messages, strconv.Itoa(number)+blockSuffix), record)
}

// apply repairs a file below dir, and keeps the old file below the directory kept.
func (r repair) apply(dir, kept string) error {
	path := filepath.Join(dir, r.file)
	if r.keep {
		if err := keepFile(path, filepath.Join(kept, r.file)); skipMissing(err) != nil {
			return err
		}
	}
	if r.content == nil {
		return skipMissing(os.Remove(path))
	}

	// Cutting a file off needs no room, so it works on a full disk, too.
	if old, err := os.ReadFile(path); err == nil && !r.keep && bytes.HasPrefix(old, r.content) {
		return os.Truncate(path, int64(len(r.content)))
	}
	return replaceFile(path, r.content)
}

// keepFile gives a file a second name, under which the content stays when the first name gets a new file. Where that is
// not possible, it copies the file.
func keepFile(path, kept string) error {
	if err := os.MkdirAll(filepath.Dir(kept), 0o750); err != nil {
		return err
	}
	err := os.Link(path, kept)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}

	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return writeSynced(kept, data)
}
