package jetstream

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

const (
	// journalStream is the stream of the journal, and its subject.
	journalStream = "dq-positions" // not the stream of a topic: those start with engine.TopicPrefix

	// trimTimeout bounds how long it may take to remove records that were replaced.
	trimTimeout = time.Minute

	// snapshotRecords is the number of records in one message of a snapshot. A
	// record takes about 10 bytes, and 40 at most.
	snapshotRecords = 4096
)

// snapshotAfter is the number of messages that are added to the journal before a
// new snapshot is written. At a start, reading that many takes half a second.
var snapshotAfter uint64 = 64 << 10

// A journal stores the positions of consumers for a process that has the engine to
// itself. No other process can move consumers then, so one message can hold the
// positions of many consumers; with an entry for each, each write would have to be
// compared with the entry that it replaces. A message holds records, one after the other. From time to time the
// journal writes a snapshot, the last record of each consumer, and removes all
// messages before it.
type journal struct {
	topics  *Topics
	batcher batcher[record] // one batch at a time

	mu   sync.Mutex
	last map[int64]record // the last record of each consumer

	first uint64 // where the latest snapshot begins; used only by the batch under way
}

// A record says that a consumer moved.
type record struct {
	consumer int64
	revision uint64 // of the consumer's entry; with another revision there, the record is void
	from, to uint64 // positions
}

// append appends r to data, as four variable-length integers.
func (r record) append(data []byte) []byte {
	data = binary.AppendVarint(data, r.consumer)
	data = binary.AppendUvarint(data, r.revision)
	data = binary.AppendUvarint(data, r.from)
	return binary.AppendUvarint(data, r.to)
}

// decodeRecords reads the records of a message; it is the inverse of append.
func decodeRecords(data []byte) (records []record, err error) {
	unsigned := func() uint64 {
		value, n := binary.Uvarint(data)
		if n <= 0 {
			err, data = errors.New("a record that ends early"), nil
			return 0
		}
		data = data[n:]
		return value
	}

	for len(data) > 0 {
		id, n := binary.Varint(data)
		if n <= 0 {
			return nil, errors.New("a record without a consumer")
		}
		data = data[n:]

		r := record{consumer: id, revision: unsigned(), from: unsigned(), to: unsigned()}
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// openJournal opens the journal, or creates it. Errors: [*UnavailableError].
func openJournal(ctx context.Context, topics *Topics) (*journal, error) {
	stream, err := EnsureStream(ctx, topics.js, jetstream.StreamConfig{
		Name:        journalStream,
		Subjects:    []string{journalStream},
		Description: "how far consumers are, since their entries in " + cursorBucket,
		Storage:     topics.opts.Storage,
		Replicas:    topics.opts.Replicas,
		AllowDirect: true,
	})
	if err != nil {
		return nil, engine.Unavailable("open the journal of positions", err)
	}

	j := &journal{topics: topics, first: stream.CachedInfo().State.FirstSeq}
	j.batcher = batcher[record]{publish: j.write, timeout: topics.opts.CallTimeout, maxBatches: 1}
	j.last, err = readJournal(ctx, topics)
	return j, err
}

// readJournal returns the last record of each consumer.
func readJournal(ctx context.Context, topics *Topics) (map[int64]record, error) {
	all := make(map[int64]record)
	err := readAll(ctx, topics, journalStream, func(m Message) error {
		records, err := decodeRecords(m.Data)
		for _, r := range records {
			all[r.consumer] = r
		}
		return err
	})
	return all, err
}

// apply moves c, which was read from the consumer's entry, to the position that the
// journal has for it.
func (j *journal) apply(consumer int64, c *Cursor) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r, ok := j.last[consumer]; ok && r.revision == c.revision {
		c.Position = r.to
	}
}

// errMoved says that a consumer is not at the position from which a record moves it.
var errMoved = errors.New("the consumer was moved meanwhile")

// move stores r. It returns false, and stores nothing, if another call has moved the
// consumer meanwhile. Errors: [*UnavailableError].
func (j *journal) move(ctx context.Context, r record) (moved bool, err error) {
	answer := j.batcher.submit(ctx, r)
	switch {
	case errors.Is(answer.err, errMoved):
		return false, nil
	case answer.err != nil:
		return false, engine.Unavailable("store the position", answer.err)
	}
	return true, nil
}

// write stores, as one message, those of moves that start at the position of their
// consumer, and answers the others with errMoved. It writes a snapshot when one is
// due.
func (j *journal) write(ctx context.Context, moves ...record) []publishAnswer {
	answers := make([]publishAnswer, len(moves))
	valid := make([]record, 0, len(moves))
	moving := make(map[int64]bool, len(moves))

	j.mu.Lock()
	for i, r := range moves {
		last, ok := j.last[r.consumer]
		if moving[r.consumer] || ok && last.revision == r.revision && last.to != r.from {
			answers[i].err = errMoved
			continue
		}
		moving[r.consumer] = true
		valid = append(valid, r)
	}
	j.mu.Unlock()
	if len(valid) == 0 {
		return answers
	}

	written := j.publish(ctx, valid)
	if written.err == nil {
		j.mu.Lock()
		for _, r := range valid {
			j.last[r.consumer] = r
		}
		j.mu.Unlock()
		j.snapshot(ctx, written.sequence)
	}

	for i := range answers {
		if answers[i].err == nil {
			answers[i] = written
		}
	}
	return answers
}

// publish stores records as one message.
func (j *journal) publish(ctx context.Context, records []record) publishAnswer {
	m := &nats.Msg{Subject: journalStream, Data: make([]byte, 0, 16*len(records))}
	for _, r := range records {
		m.Data = r.append(m.Data)
	}
	return j.topics.publisher.publish(ctx, m)[0]
}

// drop forgets a consumer whose entry was replaced.
func (j *journal) drop(consumer int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.last, consumer)
}

// snapshot writes the last record of each consumer if the journal has grown long. The
// parameter sequence is that of the journal's last message. Nothing else is written
// meanwhile. If it fails, the records that it has written do no harm, and the next call
// tries again.
func (j *journal) snapshot(ctx context.Context, sequence uint64) {
	if sequence < j.first+snapshotAfter {
		return
	}

	j.mu.Lock()
	all := slices.Collect(maps.Values(j.last))
	j.mu.Unlock()
	for records := range slices.Chunk(all, snapshotRecords) {
		if j.publish(ctx, records).err != nil {
			return
		}
	}

	j.first = sequence + 1
	go j.trim(j.first) // not here: it takes as long as the disk does
}

// trim removes the messages before first, once those from first on are on disk. If
// it fails, the next one removes them.
func (j *journal) trim(first uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), trimTimeout)
	defer cancel()
	if j.topics.opts.flush(ctx) != nil || j.topics.opts.checkSpace() != nil {
		return // a purge needs room
	}
	if stream, err := j.topics.js.Stream(ctx, journalStream); err == nil {
		_ = stream.Purge(ctx, jetstream.WithPurgeSequence(first))
	}
}
