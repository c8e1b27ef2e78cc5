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
	journalStream = "dq-positions" // no topic's: those start with TopicPrefix

	// shortenTimeout bounds how long it may take to remove what is out of date.
	shortenTimeout = time.Minute

	// snapshotRecords is how many records a message has when the journal is
	// written anew. One takes some 10 bytes, and 40 at most.
	snapshotRecords = 4096
)

// journalLength is how many messages are added to the journal before it is
// written anew. To read that many takes a start half a second.
var journalLength uint64 = 64 << 10

// A journal keeps how far consumers are for a process that has the engine to
// itself. Nobody else can move them, so that a whole group of positions goes in
// one message, where an entry each would have to be compared with what it
// replaces. It is written anew, without what is out of date, now and then.
type journal struct {
	topics *Topics
	lane   lane[record]

	mu   sync.Mutex
	last map[int64]record // of each consumer

	first uint64 // the sequence that it was last written anew from; for who leads the lane
}

// A record says that a consumer moved.
type record struct {
	consumer int64
	revision uint64 // of the consumer's entry: the record is void once it has another
	from, to uint64 // positions
}

func (r record) append(data []byte) []byte {
	data = binary.AppendVarint(data, r.consumer)
	data = binary.AppendUvarint(data, r.revision)
	data = binary.AppendUvarint(data, r.from)
	return binary.AppendUvarint(data, r.to)
}

// decodeRecords is what append made of records.
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

// openJournal opens the journal, or makes it.
func openJournal(ctx context.Context, topics *Topics) (*journal, error) {
	stream, err := topics.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
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
	j.lane = lane[record]{publish: j.write, timeout: topics.opts.CallTimeout, maxLeaders: 1}
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

// apply brings a cursor that was read from its entry up to date.
func (j *journal) apply(consumer int64, c *Cursor) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r, ok := j.last[consumer]; ok && r.revision == c.revision {
		c.Position = r.to
	}
}

// errMoved says that a consumer was not where a record has it come from.
var errMoved = errors.New("the consumer was moved meanwhile")

// move stores r. It reports whether it did: if not, the consumer was moved by
// somebody else meanwhile.
func (j *journal) move(ctx context.Context, r record) (moved bool, err error) {
	answer := j.lane.ride(ctx, r)
	switch {
	case errors.Is(answer.err, errMoved):
		return false, nil
	case answer.err != nil:
		return false, engine.Unavailable("store the position", answer.err)
	}
	return true, nil
}

// write writes those of moves that start where the consumer is, as one message.
func (j *journal) write(ctx context.Context, moves ...record) []publishAnswer {
	answers := make([]publishAnswer, len(moves))
	good := make([]record, 0, len(moves))
	going := make(map[int64]bool, len(moves))
	j.mu.Lock()
	for i, r := range moves {
		last, ok := j.last[r.consumer]
		if going[r.consumer] || ok && last.revision == r.revision && last.to != r.from {
			answers[i].err = errMoved
			continue
		}
		going[r.consumer] = true
		good = append(good, r)
	}
	j.mu.Unlock()
	if len(good) == 0 {
		return answers
	}
	written := j.publish(ctx, good)
	if written.err == nil {
		j.mu.Lock()
		for _, r := range good {
			j.last[r.consumer] = r
		}
		j.mu.Unlock()
		j.renew(ctx, written.sequence)
	}
	for i := range answers {
		if answers[i].err == nil {
			answers[i] = written
		}
	}
	return answers
}

func (j *journal) publish(ctx context.Context, records []record) publishAnswer {
	m := &nats.Msg{Subject: journalStream, Data: make([]byte, 0, 16*len(records))}
	for _, r := range records {
		m.Data = r.append(m.Data)
	}
	return j.topics.publisher.publish(ctx, m)[0]
}

// drop forgets a consumer, whose entry was replaced.
func (j *journal) drop(consumer int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.last, consumer)
}

// renew writes the journal anew if it has grown long: the last record of each
// consumer, in place of all before. Nothing else is written meanwhile. If it
// fails, what was written does no harm, and the next one tries again.
func (j *journal) renew(ctx context.Context, sequence uint64) {
	if sequence < j.first+journalLength {
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
	go j.shorten(j.first) // which takes as long as the disk does
}

// shorten removes what is before first, once what is behind it is on the disk.
func (j *journal) shorten(first uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), shortenTimeout)
	defer cancel()
	if j.topics.opts.flush(ctx) != nil {
		return
	}
	if stream, err := j.topics.js.Stream(ctx, journalStream); err == nil {
		_ = stream.Purge(ctx, jetstream.WithPurgeSequence(first)) // the next one takes this with it
	}
}
