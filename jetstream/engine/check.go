package engine

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"
)

const (
	messagesDir = "msgs"         // has the blocks of a stream
	purgedDir   = "__new_msgs__" // has the block that a purge puts in the place of all others
	blockSuffix = ".blk"
	keyFile     = "meta.key" // exists if the stream is encrypted
	stateFile   = "o.dat"    // how far a consumer is
)

// A FileDamage says what is wrong with a file of a stream, and which messages are lost.
type FileDamage struct {
	File     string `json:"file"` // below the data directory
	Problem  string `json:"problem"`
	At       int    `json:"at,omitzero"`             // the first damaged byte
	First    uint64 `json:"first_sequence,omitzero"` // the messages that are lost, at most
	Last     uint64 `json:"last_sequence,omitzero"`
	Messages uint64 `json:"messages,omitzero"`
}

// A StreamCheck is what a check of the files of a stream found.
type StreamCheck struct {
	Stream  string       `json:"stream"`
	Records int          `json:"records"` // sound ones that were read
	Bytes   int64        `json:"bytes"`
	Damage  []FileDamage `json:"damage,omitempty"` // something that was confirmed is lost
	Torn    []FileDamage `json:"torn,omitempty"`   // the end of the last run explains it
	Mended  []FileDamage `json:"mended,omitempty"` // nothing is lost: what was there is known
	Skipped string       `json:"skipped,omitempty"`

	repairs []repair
	final   block  // the last block
	highest uint64 // of the sequences that were given out
	kept    uint64 // the highest sequence that a sound record has
	newest  int64  // when the newest sound message was stored
}

// A repair makes a file usable.
type repair struct {
	file    string // below the directory of the stream
	content []byte // what it must hold; nil removes it
	keep    bool   // keep what it was
}

// A block is a file of messages.
type block struct {
	number int
	file   string // below the directory of the stream
	size   int64
}

// A checker checks the files of one stream.
type checker struct {
	StreamCheck
	dir    string
	run    lastRun
	full   bool            // read all blocks, also where the engine would trust its index
	budget *atomic.Int64   // bytes of blocks that are read besides; nil is none
	index  *streamIndex    // nil if there is no sound one
	read   func(bytes int) // is told how much was read
}

// check checks the files of the stream. It fails if the file system does.
func (c *checker) check() error {
	c.Stream = filepath.Base(c.dir)
	if _, err := os.Stat(filepath.Join(c.dir, keyFile)); err == nil {
		c.Skipped = "it is encrypted"
		return nil
	}
	return errors.Join(c.checkSettings(), c.checkMessages(), c.checkConsumers())
}

func (c *checker) damaged(d FileDamage) { c.Damage = append(c.Damage, d) }

// mend records damage by which nothing is lost, because it is known what the file must hold.
func (c *checker) mend(d FileDamage, content []byte) {
	c.Mended = append(c.Mended, d)
	c.repairs = append(c.repairs, repair{file: d.File, content: content, keep: true})
}

func (c *checker) checkSettings() error {
	return c.checkMeta("", c.Stream, func(settings []byte) bool {
		stream, err := decodeStrictly[server.FileStreamInfo](settings)
		return err == nil && stream.Name == c.Stream
	})
}

// checkMessages checks the blocks: all of them, or none if the engine will use its index.
func (c *checker) checkMessages() error {
	blocks, err := c.listBlocks()
	if err != nil {
		return err
	}
	if err := c.readIndex(); err != nil {
		return err
	}

	if c.index != nil && c.isCurrent(blocks) {
		if c.run.end == endInOrder { // else the oldest may have expired since the index was written
			c.findMissing(blocks)
		}
		if !c.full && len(c.Damage) == 0 && !c.mayRead(blocks) {
			return nil
		}
	}

	var scans errgroup.Group
	scans.SetLimit(checksAtOnce())
	scanned := make([]scan, len(blocks))
	for i, b := range blocks {
		scans.Go(func() error {
			scanned[i] = c.scan(b)
			return nil
		})
	}
	_ = scans.Wait() // what a scan finds is no error

	var last uint64
	for i, b := range blocks {
		c.final = b
		last = c.checkBlock(b, scanned[i], i == len(blocks)-1, last)
	}
	c.checkEnd()
	return nil
}

// mayRead reports whether blocks that the engine will not read may be read all the same: a start
// reads so many bytes of them.
func (c *checker) mayRead(blocks []block) bool {
	if c.budget == nil {
		return false
	}
	var size int64
	for _, b := range blocks {
		size += b.size
	}
	if c.budget.Add(-size) >= 0 {
		return true
	}
	c.budget.Add(size) // another stream may be smaller
	return false
}

// listBlocks returns the blocks in their order.
func (c *checker) listBlocks() (blocks []block, err error) {
	dir := messagesDir
	// Once the block of a purge is in its place, the engine finishes the purge when it starts.
	if purged, err := os.ReadDir(filepath.Join(c.dir, purgedDir)); err == nil && slices.ContainsFunc(purged, isBlock) {
		dir = purgedDir
	}
	entries, err := os.ReadDir(filepath.Join(c.dir, dir))
	if err != nil {
		return nil, skipMissing(err)
	}

	for _, entry := range entries {
		number, err := strconv.Atoi(strings.TrimSuffix(entry.Name(), blockSuffix))
		if !isBlock(entry) || err != nil {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, block{number, filepath.Join(dir, entry.Name()), info.Size()})
	}
	slices.SortFunc(blocks, func(a, b block) int { return a.number - b.number })
	return blocks, nil
}

func isBlock(entry fs.DirEntry) bool { return strings.HasSuffix(entry.Name(), blockSuffix) }

// readIndex reads the engine's index, if there is one.
func (c *checker) readIndex() error {
	file := filepath.Join(messagesDir, indexFile)
	data, err := os.ReadFile(filepath.Join(c.dir, file))
	if err != nil {
		return skipMissing(err)
	}

	if c.index, err = decodeIndex(c.Stream, data); err != nil {
		// The engine builds the index again. It writes the index in place, so a process that ends may leave an
		// incomplete one.
		c.Mended = append(c.Mended, FileDamage{File: file, Problem: "the checksum of the index is wrong"})
		c.repairs = append(c.repairs, repair{file: file})
		return nil
	}
	c.highest = c.index.last
	return nil
}

// isCurrent reports whether the engine will use the index, because the last block ends as the index says.
func (c *checker) isCurrent(blocks []block) bool {
	if len(blocks) == 0 || blocks[len(blocks)-1].number != c.index.lastBlock {
		return false
	}
	last := blocks[len(blocks)-1]
	var end [recordSum]byte
	if last.size < recordSum {
		return end == c.index.lastSum
	}

	f, err := os.Open(filepath.Join(c.dir, last.file))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	_, err = f.ReadAt(end[:], last.size-recordSum)
	return err == nil && end == c.index.lastSum
}

// findMissing records the blocks that are in the index and not on disk.
func (c *checker) findMissing(blocks []block) {
	for _, b := range c.index.blocks {
		exists := slices.ContainsFunc(blocks, func(have block) bool { return have.number == b.number })
		if exists || b.messages == 0 {
			continue
		}
		c.damaged(FileDamage{
			File:     filepath.Join(messagesDir, strconv.Itoa(b.number)+blockSuffix),
			Problem:  "the file is missing",
			First:    b.first,
			Last:     b.last,
			Messages: b.messages,
		})
	}
}

// A scan is what was read of a block.
type scan struct {
	content    blockContent
	sound      []byte // the block without its gaps, if it has some
	size       int64
	compressed bool
	err        error
}

// blockBuffers has buffers for whole blocks: a start reads many of them.
var blockBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// scan reads one block. It is safe for concurrent use.
func (c *checker) scan(b block) (s scan) {
	file, err := os.Open(filepath.Join(c.dir, b.file))
	if err != nil {
		return scan{err: err}
	}
	defer func() { _ = file.Close() }()
	buffer := blockBuffers.Get().(*bytes.Buffer)
	defer blockBuffers.Put(buffer)
	buffer.Reset()
	buffer.Grow(int(b.size) + bytes.MinRead)
	if s.size, s.err = buffer.ReadFrom(file); s.err != nil {
		return s
	}
	if s.compressed = bytes.HasPrefix(buffer.Bytes(), compressedBlock); s.compressed {
		return s
	}

	reader := newBlockReader(c.Stream, b.number, buffer.Bytes())
	if s.content = reader.read(); len(s.content.gaps) > 0 {
		s.sound = reader.without(s.content.gaps)
	}
	if c.read != nil {
		c.read(int(s.size))
	}
	return s
}

// checkBlock judges what was read of a block. The parameter before is the last sequence of the
// blocks before it; it returns the last one of this block, too.
func (c *checker) checkBlock(b block, s scan, isLast bool, before uint64) (last uint64) {
	if s.err != nil {
		c.damaged(FileDamage{File: b.file, Problem: s.err.Error()})
		c.repairs = append(c.repairs, repair{file: b.file, keep: true})
		return before
	}
	if s.compressed {
		c.Skipped = "it is compressed"
		return before
	}

	content := s.content
	c.Records += content.records
	c.Bytes += s.size
	c.kept = max(c.kept, content.highest)
	c.highest = max(c.highest, content.highest)
	c.newest = max(c.newest, content.lastTime)
	if len(content.gaps) > 0 {
		keep := c.judge(b, content, isLast, before)
		c.repairs = append(c.repairs, repair{b.file, s.sound, keep})
	}
	return max(before, content.last)
}

// judge records the gaps of a block as damage or as what the end of the last run explains. It reports whether the block
// must be kept as it is.
func (c *checker) judge(b block, content blockContent, isLast bool, before uint64) (keep bool) {
	for _, g := range content.gaps {
		if g.mended != nil {
			mended := FileDamage{File: b.file, Problem: "the length of a record is wrong", At: g.offset}
			c.Mended = append(c.Mended, mended)
			keep = true
			continue
		}

		damage := g.damage(b.file, before)
		switch {
		case isLast && c.run.explains(g):
			damage.Problem = "the last write was cut off"
			c.Torn = append(c.Torn, damage)
		case c.run.lost(g):
			damage.Problem = "it was not on disk yet at the power cut"
			c.Torn = append(c.Torn, damage)
			keep = true
		default:
			c.highest = max(c.highest, damage.Last)
			c.damaged(damage)
			keep = true
		}
	}
	return keep
}

// damage returns which messages a gap in a file may have held. The parameter before is the last sequence before the
// file.
func (g gap) damage(file string, before uint64) FileDamage {
	d := FileDamage{File: file, Problem: "the checksum of a record is wrong", At: g.offset}
	first := max(g.after, before) + 1
	last := first + uint64(g.records) - 1
	if g.before > 0 {
		last = min(last, g.before-1)
	}
	if last >= first { // else it was the record of a deletion
		d.First, d.Last, d.Messages = first, last, last-first+1
	}
	return d
}

// checkEnd records messages that are in the index and in no block: the last block was cut off between two records.
func (c *checker) checkEnd() {
	if c.index == nil || c.Skipped != "" || c.index.last <= c.kept || len(c.Damage)+len(c.Torn) > 0 {
		return
	}
	i := slices.IndexFunc(c.index.blocks, func(b indexedBlock) bool { return b.number == c.index.lastBlock })
	if i < 0 || c.index.blocks[i].messages == 0 || c.index.blocks[i].last != c.index.last {
		return
	}

	file := filepath.Join(messagesDir, strconv.Itoa(c.index.lastBlock)+blockSuffix)
	d := FileDamage{File: file, Problem: "the index has messages that are not in the file"}
	d.First, d.Last = max(c.kept+1, c.index.blocks[i].first), c.index.last
	d.Messages = d.Last - d.First + 1
	if c.run.end == endPowerCut {
		c.Torn = append(c.Torn, d)
		return
	}
	c.damaged(d)
}

// skipMissing returns err, or nil if it says that a file does not exist.
func skipMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
