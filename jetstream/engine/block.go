package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/minio/highwayhash"
)

// The format of a block, a file of messages (nats-server: filestore.go, version 2.15). It is
// a row of records:
//
//	4 bytes  length of the record; the highest bit says that the message has headers
//	8 bytes  sequence, with two flags
//	8 bytes  time, in nanoseconds since 1970
//	2 bytes  length of the subject
//	         the subject; with headers: 4 bytes with their length, and the headers; the data
//	8 bytes  checksum of all but the three lengths
const (
	recordHead = 22
	recordSum  = 8
	minRecord  = recordHead + recordSum
	maxRecord  = 32 << 20 // the engine takes a larger one for damaged

	hasHeaders = 1 << 31 // in the length

	tombstone = 1 << 62 // in the sequence: says that the message of that sequence was deleted
	erased    = 1 << 63 // in the sequence: the message was overwritten
	sequences = tombstone - 1
)

// compressedBlock starts a block that the engine has compressed. dq does not ask for that;
// such a block is not checked.
var compressedBlock = []byte("cmp")

// A blockReader reads the records of one block and finds those that are damaged.
type blockReader struct {
	data    []byte
	subject []byte // how the subjects of all messages begin; empty if that is not known
	key     [sha256.Size]byte
	copied  []byte // what is hashed of a record
}

// newBlockReader returns a reader of the block of stream with that index.
func newBlockReader(stream string, index int, data []byte) *blockReader {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, index))
	b := &blockReader{data: data, key: key}
	if topic, ok := strings.CutPrefix(stream, TopicPrefix); ok {
		b.subject = []byte("dq." + topic + ".")
	}
	return b
}

// A blockRecord is a record at its place in the block.
type blockRecord struct {
	offset, length int
	sequence       uint64
	time           int64
	flags          uint64 // tombstone, erased or neither
}

// A gap is a part of a block without a sound record.
type gap struct {
	offset, length int
	after, before  uint64 // sequences of the sound messages around it; before is 0 if none follows in the block
	time           int64  // about when it was stored; 0 if that is not known
	records        int    // how many records it can have held
	atEnd          bool   // nothing follows in the block
	incomplete     bool   // it is a record that was not written to its end
	zeros          bool   // it ends in zeros, as where pages were not written before a power cut
	// mended is the record that fills the gap, if only its length is damaged.
	mended *blockRecord
}

// blockContent is what a block holds.
type blockContent struct {
	records     int
	first, last uint64 // sequences of messages and erased messages; 0 if there are none
	lastTime    int64
	highest     uint64 // the highest sequence, with those of tombstones
	gaps        []gap
}

// read returns what the block holds.
func (b *blockReader) read() (content blockContent) {
	for at := 0; at < len(b.data); {
		record, ok := b.record(at, 0)
		if ok {
			content.add(record)
			at += record.length
			continue
		}

		found := b.gapAt(at, &content)
		content.gaps = append(content.gaps, found)
		if found.mended != nil {
			content.add(*found.mended)
		}
		at += found.length
	}
	return content
}

// add counts a sound record.
func (c *blockContent) add(r blockRecord) {
	c.records++
	c.highest = max(c.highest, r.sequence)
	if r.flags == tombstone || r.sequence == 0 {
		return
	}

	for i := range c.gaps {
		if g := &c.gaps[i]; g.before == 0 {
			g.before, g.time = r.sequence, r.time
		}
	}
	if c.first == 0 || r.sequence < c.first {
		c.first = r.sequence
	}
	if r.sequence > c.last {
		c.last, c.lastTime = r.sequence, r.time
	}
}

// record returns the record at an offset, and reports whether it is sound. A length other
// than 0 is taken instead of that in the record.
func (b *blockReader) record(at, length int) (r blockRecord, ok bool) {
	rest := b.data[at:]
	if len(rest) < minRecord {
		return r, false
	}

	head := rest[:recordHead]
	stored := binary.LittleEndian.Uint32(head)
	if length == 0 {
		length = int(stored &^ hasHeaders)
	}
	subject := int(binary.LittleEndian.Uint16(head[20:]))
	hashed := recordHead + subject // the rest of the data, after the subject
	if stored&hasHeaders != 0 {
		hashed += 4
	}
	if length < minRecord || length > maxRecord || length > len(rest) || hashed > length-recordSum {
		return r, false
	}

	// One sum of a copy takes half the time of a hash that is written to in parts.
	b.copied = append(b.copied[:0], head[4:20]...)
	b.copied = append(b.copied, rest[recordHead:recordHead+subject]...)
	b.copied = append(b.copied, rest[hashed:length-recordSum]...)
	if highwayhash.Sum64(b.copied, b.key[:]) != binary.LittleEndian.Uint64(rest[length-recordSum:]) {
		return r, false
	}
	if stored&hasHeaders != 0 && !soundHeaders(rest[recordHead+subject:length-recordSum]) {
		return r, false
	}
	sequence := binary.LittleEndian.Uint64(head[4:])
	if sequence <= sequences && !b.soundSubject(rest[recordHead:length-recordSum], subject) {
		return r, false
	}

	return blockRecord{
		offset:   at,
		length:   length,
		sequence: sequence & sequences,
		time:     int64(binary.LittleEndian.Uint64(head[12:])),
		flags:    sequence &^ sequences,
	}, true
}

// soundSubject reports whether the length of the subject with which data begins can be right; no
// checksum covers it. In a topic it is dq.TOPIC.KEY, or was dq.TOPIC; a native client may have
// given the stream other subjects.
func (b *blockReader) soundSubject(data []byte, length int) bool {
	subject := data[:length]
	word, ok := bytes.CutPrefix(subject, b.subject)
	if len(b.subject) == 0 || !ok && !bytes.HasPrefix(b.subject, subject) {
		return true
	}
	if !ok { // it ends early
		return length == len(b.subject)-1 && !bytes.HasPrefix(data[length:], []byte("."))
	}

	for _, c := range word {
		ok = ok && c > ' ' && c != '.'
	}
	return ok && len(word) > 0
}

// soundHeaders reports whether the length of a message's headers, which no checksum covers,
// can be right.
func soundHeaders(data []byte) bool {
	end := []byte("\r\n\r\n")
	length, payload := int(binary.LittleEndian.Uint32(data)), data[4:]
	return length <= len(payload) && (bytes.HasSuffix(payload[:length], end) || !bytes.Contains(payload, end))
}

// gapAt returns the gap that begins at an offset.
func (b *blockReader) gapAt(at int, before *blockContent) gap {
	found := gap{offset: at, length: len(b.data) - at, after: before.last, time: before.lastTime}
	for next := at + 1; next+minRecord <= len(b.data); next++ {
		if b.mayBegin(next, before) {
			if _, ok := b.record(next, 0); ok {
				found.length = next - at
				break
			}
		}
	}

	if whole, ok := b.record(at, found.length); ok {
		found.mended, found.records = &whole, 1
		return found
	}
	found.atEnd = at+found.length == len(b.data)
	found.incomplete = found.atEnd && b.isIncomplete(at, before)
	found.zeros = endsInZeros(b.data[at : at+found.length])
	found.records = b.countRecords(at, found.length, before.last)
	if found.length >= recordHead {
		if _, sequence := b.numbers(at); sequence == before.last+1 {
			found.time = int64(binary.LittleEndian.Uint64(b.data[at+12:]))
		}
	}
	return found
}

// mayBegin reports whether a record can begin at an offset, judged by its numbers: it fits, and its sequence is near
// the earlier ones.
func (b *blockReader) mayBegin(at int, before *blockContent) bool {
	const far = 1 << 32
	length, sequence := b.numbers(at)
	return length >= minRecord && length <= len(b.data)-at && (before.highest == 0 || sequence < before.highest+far)
}

// isIncomplete reports whether the last record, at an offset, was not written to its end.
func (b *blockReader) isIncomplete(at int, before *blockContent) bool {
	rest := len(b.data) - at
	if rest < recordHead {
		return true
	}
	length, sequence := b.numbers(at)
	return length > rest && length <= maxRecord && (before.last == 0 || sequence <= before.last+1)
}

// countRecords returns how many records a gap can have held: as many as there are, if their
// numbers make sense to the end, and else as many as there is room for.
func (b *blockReader) countRecords(at, gapLength int, after uint64) (n int) {
	for end := at + gapLength; end-at >= recordHead; n++ {
		length, sequence := b.numbers(at)
		if length < minRecord || length > end-at || after > 0 && sequence != after+uint64(n)+1 {
			break
		}
		if at += length; at == end {
			return n + 1
		}
	}
	return (gapLength + minRecord - 1) / minRecord
}

// numbers returns the length and the sequence of what may be a record.
func (b *blockReader) numbers(at int) (length int, sequence uint64) {
	length = int(binary.LittleEndian.Uint32(b.data[at:]) &^ hasHeaders)
	return length, binary.LittleEndian.Uint64(b.data[at+4:]) & sequences
}

// without returns the sound records of the block. A record of which only the length was damaged gets the right length.
func (b *blockReader) without(gaps []gap) []byte {
	sound, at := make([]byte, 0, len(b.data)), 0
	for _, g := range gaps {
		sound = append(sound, b.data[at:g.offset]...)
		at = g.offset + g.length
		if g.mended == nil {
			continue
		}
		start, flag := len(sound), binary.LittleEndian.Uint32(b.data[g.offset:])&hasHeaders
		sound = append(sound, b.data[g.offset:at]...)
		binary.LittleEndian.PutUint32(sound[start:], uint32(g.length)|flag)
	}
	return append(sound, b.data[at:]...)
}

// erasedRecord returns a record that keeps a sequence from being given out again: the engine
// takes it for a message that was erased.
func (b *blockReader) erasedRecord(sequence uint64, time int64) []byte {
	r := make([]byte, recordHead, minRecord)
	binary.LittleEndian.PutUint32(r, minRecord)
	binary.LittleEndian.PutUint64(r[4:], sequence|erased)
	binary.LittleEndian.PutUint64(r[12:], uint64(time))
	return binary.LittleEndian.AppendUint64(r, highwayhash.Sum64(r[4:20], b.key[:]))
}

// endsInZeros reports whether data ends in zeros, as when the last pages of a write are
// missing.
func endsInZeros(data []byte) bool {
	const enough = 16
	return len(bytes.Trim(data[max(0, len(data)-enough):], "\x00")) == 0
}
