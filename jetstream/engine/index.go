package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server/avl"
)

// The engine's index of a stream, index.db (nats-server: filestore.go, version 2.15). It says
// what the blocks hold, so that a start need not read them. The engine writes it when it
// stops, and every few minutes; it trusts it only if the last block ends as the index says.
const (
	indexFile    = "index.db"
	indexMagic   = 11
	indexVersion = 4 // the newest; all from 1 on are read
)

// A streamIndex is what the index of a stream says.
type streamIndex struct {
	last      uint64 // the sequence of the newest message ever stored
	blocks    []indexedBlock
	lastBlock int
	lastSum   [recordSum]byte // the last bytes of lastBlock
}

// An indexedBlock is a block as the index has it.
type indexedBlock struct {
	number      int
	first, last uint64 // there are no messages if first is greater
	messages    uint64
}

var errBadIndex = errors.New("the index is damaged")

// decodeIndex reads the index of a stream. It fails with errBadIndex.
func decodeIndex(stream string, data []byte) (*streamIndex, error) {
	key := sha256.Sum256([]byte(stream))
	if len(data) < recordSum+2 {
		return nil, errBadIndex
	}
	body, sum := data[:len(data)-recordSum], data[len(data)-recordSum:]
	if highwayhash.Sum64(body, key[:]) != binary.LittleEndian.Uint64(sum) {
		return nil, errBadIndex
	}
	if body[0] != indexMagic || body[1] < 1 || body[1] > indexVersion {
		return nil, errBadIndex
	}

	d := &indexDecoder{data: body[2:], version: body[1]}
	index := d.stream()
	if d.failed {
		return nil, errBadIndex
	}
	return index, nil
}

// An indexDecoder reads numbers of variable length. After an error it returns zeros.
type indexDecoder struct {
	data    []byte
	version byte
	failed  bool
}

func (d *indexDecoder) number() uint64 {
	value, n := binary.Uvarint(d.data)
	return value * uint64(d.skip(n))
}

func (d *indexDecoder) signed() {
	_, n := binary.Varint(d.data)
	d.skip(n)
}

// skip goes on after n bytes. It returns 1, or 0 after an error.
func (d *indexDecoder) skip(n int) int {
	if d.failed || n <= 0 || n > len(d.data) {
		d.failed, d.data = true, nil
		return 0
	}
	d.data = d.data[n:]
	return 1
}

func (d *indexDecoder) stream() *streamIndex {
	index := &streamIndex{}
	d.number() // messages
	d.number() // bytes
	d.number() // first sequence
	d.signed() // first time
	index.last = d.number()
	d.signed() // last time

	for n := d.number(); n > 0 && !d.failed; n-- {
		d.subject()
	}
	for n := d.number(); n > 0 && !d.failed; n-- {
		index.blocks = append(index.blocks, d.block())
	}

	index.lastBlock = int(d.number())
	if copy(index.lastSum[:], d.data) < recordSum {
		d.failed = true
	}
	return index
}

// subject skips a subject with its number of messages and its blocks.
func (d *indexDecoder) subject() {
	n := d.number()
	if n == 0 {
		return
	}
	d.skip(int(min(n, 1<<20)))
	if total := d.number(); total > 1 || d.version >= 4 {
		d.number() // first block
	}
	d.number() // last block, or the only one
}

func (d *indexDecoder) block() indexedBlock {
	block := indexedBlock{number: int(d.number())}
	d.number() // bytes
	block.first = d.number()
	d.signed() // first time
	block.last = d.number()
	d.signed() // last time

	deleted := d.number()
	if d.version >= 2 {
		d.number() // messages with a TTL
	}
	if d.version >= 3 {
		d.number() // scheduled messages
	}
	if deleted > 0 && !d.failed {
		_, n, err := avl.Decode(d.data)
		if err != nil {
			n = 0
		}
		d.skip(n)
	}
	if total := block.last + 1 - block.first; block.first <= block.last && total > deleted {
		block.messages = total - deleted
	}
	return block
}
