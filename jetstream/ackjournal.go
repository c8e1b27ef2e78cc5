package jetstream

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

const (
	// ackStream is the stream of the journal of acknowledgements, and its subject.
	ackStream = "dq-acks" // not the stream of a topic: those start with engine.TopicPrefix

	// ackBatches is how many messages of the journal are under way at once.
	ackBatches = 2

	// ackMessageBytes is about how large a message of the journal gets.
	ackMessageBytes = 256 << 10

	// trimAckedAfter is how many acknowledged messages of a consumer are remembered
	// before the engine is asked which of them it will not deliver again.
	trimAckedAfter = 4096
)

// An ackJournal stores which messages are done for a consumer in mode lease: acknowledged, or moved to the dead-letter
// topic. A single server writes the state of its durable consumers to disk some time after it has confirmed an
// acknowledgement, so after kill -9 it delivers again messages that were acknowledged shortly before. Messages that are
// in the journal are then acknowledged again, and no worker sees them.
type ackJournal struct {
	topics  *Topics
	batcher batcher[[]byte]

	mu   sync.Mutex
	sets map[int64]*ackSet // by the ids of consumers

	first     atomic.Uint64 // where the latest snapshot begins
	snapshots sync.Mutex    // held while one is written
}

// An ackSet is the messages that are done for one consumer: all up to floor, and those
// in above.
type ackSet struct {
	consumer   int64
	generation uint64 // of the consumer; a seek begins a new one

	mu     sync.Mutex
	floor  uint64
	above  engine.SequenceSet
	trimAt int // the size of above at which the engine is asked for a new floor
}

func (s *ackSet) has(sequence uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sequence <= s.floor || s.above.Exists(sequence)
}

// add adds sequences. It reports whether the engine should be asked for a new floor.
func (s *ackSet) add(sequences []uint64) (trim bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sequence := range sequences {
		if sequence > s.floor {
			s.above.Insert(sequence)
		}
	}
	if s.above.Size() < s.trimAt {
		return false
	}
	s.trimAt = 2*s.above.Size() + trimAckedAfter
	return true
}

// setFloor records that all messages up to floor are done.
func (s *ackSet) setFloor(floor uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if floor > s.floor {
		s.remove(0, floor)
		s.floor = floor
	}
	s.trimAt = 2*s.above.Size() + trimAckedAfter
}

// truncate forgets the messages after last, and reports whether there were any.
func (s *ackSet) truncate(last uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, highest := s.above.MinMax()
	if max(s.floor, highest) <= last {
		return false
	}
	s.floor = min(s.floor, last)
	s.remove(last+1, highest)
	return true
}

// remove removes the messages from..to. The caller holds the lock.
func (s *ackSet) remove(from, to uint64) {
	for _, sequence := range s.list(from, to) {
		s.above.Delete(sequence)
	}
}

// between returns the messages above the floor in the range from..to.
func (s *ackSet) between(from, to uint64) []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list(from, to)
}

// list returns the messages above the floor in the range from..to. The caller holds the
// lock.
func (s *ackSet) list(from, to uint64) (sequences []uint64) {
	if _, highest := s.above.MinMax(); highest < from {
		return nil
	}
	s.above.Range(func(sequence uint64) bool {
		if sequence >= from && sequence <= to {
			sequences = append(sequences, sequence)
		}
		return sequence < to
	})
	return sequences
}

// records returns s as records of the journal, which together are the whole set.
func (s *ackSet) records() (records [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sequences []uint64
	cut := func() {
		records = append(records, ackRecord(s, s.floor, sequences))
		sequences = sequences[:0]
	}
	s.above.Range(func(sequence uint64) bool {
		if sequences = append(sequences, sequence); len(sequences) == ackMessageBytes/4 {
			cut()
		}
		return true
	})
	if len(records) == 0 || len(sequences) > 0 {
		cut()
	}
	return records
}

// ackRecord returns a record of the journal: that all messages up to floor and those of
// sequences, which are sorted, are done. The sequences are stored as runs: how far
// each begins after the one before, and how long it is.
func ackRecord(s *ackSet, floor uint64, sequences []uint64) []byte {
	runs := make([]uint64, 0, 8)
	last := floor
	for _, sequence := range sequences {
		switch {
		case sequence <= last && last > floor: // twice
			continue
		case len(runs) > 0 && sequence == last+1:
			runs[len(runs)-1]++
		default:
			runs = append(runs, sequence-last, 1)
		}
		last = sequence
	}

	data := binary.AppendVarint(make([]byte, 0, 32+2*len(runs)), s.consumer)
	data = binary.AppendUvarint(data, s.generation)
	data = binary.AppendUvarint(data, floor)
	data = binary.AppendUvarint(data, uint64(len(runs)))
	for _, n := range runs {
		data = binary.AppendUvarint(data, n)
	}
	return data
}

// openAckJournal opens the journal of acknowledgements, or creates it, and reads it.
// Errors: [*UnavailableError].
func openAckJournal(ctx context.Context, topics *Topics) (*ackJournal, error) {
	stream, err := EnsureStream(ctx, topics.js, jetstream.StreamConfig{
		Name:        ackStream,
		Subjects:    []string{ackStream},
		Description: "which messages are done for the consumers in mode lease",
		Storage:     topics.opts.Storage,
		Replicas:    topics.opts.Replicas,
		AllowDirect: true,
	})
	if err != nil {
		return nil, engine.Unavailable("open the journal of acknowledgements", err)
	}

	j := &ackJournal{topics: topics, sets: make(map[int64]*ackSet)}
	j.first.Store(stream.CachedInfo().State.FirstSeq)
	j.batcher = batcher[[]byte]{publish: j.write, timeout: topics.opts.CallTimeout, maxBatches: ackBatches}
	err = readAll(ctx, topics, ackStream, func(m Message) error { return j.read(m.Data) })
	return j, err
}

// read adds the records of a message to the sets. It is the inverse of ackRecord.
func (j *ackJournal) read(data []byte) error {
	for len(data) > 0 {
		id, n := binary.Varint(data)
		if n <= 0 {
			return errors.New("an acknowledgement without a consumer")
		}
		var header [3]uint64 // generation, floor, length of the runs
		var err error
		if data, err = readNumbers(data[n:], header[:]); err != nil {
			return err
		}
		if header[2] > uint64(len(data)) {
			return errShortRecord
		}
		runs := make([]uint64, header[2])
		if data, err = readNumbers(data, runs); err != nil {
			return err
		}

		set := j.set(id, header[0])
		if set.generation != header[0] {
			continue // a seek came after it
		}
		set.setFloor(header[1])
		last := header[1]
		for run := range slices.Chunk(runs, 2) {
			if len(run) < 2 || run[1] > ackMessageBytes {
				return errShortRecord
			}
			for range run[1] {
				set.add([]uint64{last + run[0]})
				last, run[0] = last+run[0], 1
			}
		}
	}
	return nil
}

var errShortRecord = errors.New("a record that ends early")

// readNumbers reads numbers from the start of data, and returns the rest.
func readNumbers(data []byte, numbers []uint64) (rest []byte, err error) {
	for i := range numbers {
		value, n := binary.Uvarint(data)
		if n <= 0 {
			return nil, errShortRecord
		}
		numbers[i], data = value, data[n:]
	}
	return data, nil
}

// set returns the set of a consumer, and begins a new one if that has an older
// generation. If it has a newer one, it is returned as it is.
func (j *ackJournal) set(consumer int64, generation uint64) *ackSet {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.sets[consumer]
	if s == nil || s.generation < generation {
		s = &ackSet{consumer: consumer, generation: generation, trimAt: trimAckedAfter}
		j.sets[consumer] = s
	}
	return s
}

// all returns the sets of all consumers.
func (j *ackJournal) all() []*ackSet {
	j.mu.Lock()
	defer j.mu.Unlock()
	sets := make([]*ackSet, 0, len(j.sets))
	for _, s := range j.sets {
		sets = append(sets, s)
	}
	return sets
}

// drop forgets a consumer.
func (j *ackJournal) drop(consumer int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.sets, consumer)
}

// add stores that the messages of sequences are done for a consumer. The result trim
// says that the engine should be asked for a new floor. Errors: [*UnavailableError].
func (j *ackJournal) add(ctx context.Context, consumer Consumer, sequences []uint64) (trim bool, err error) {
	set := j.set(consumer.ID, consumer.Generation)
	slices.Sort(sequences)
	trim = set.add(sequences)
	answer := j.batcher.submit(ctx, ackRecord(set, 0, sequences))
	if answer.err != nil {
		return trim, engine.Unavailable("store the acknowledgement", answer.err)
	}
	return trim, nil
}

// write stores records, many in one message.
func (j *ackJournal) write(ctx context.Context, records ...[]byte) []publishAnswer {
	var messages []*nats.Msg
	of := make([]int, len(records)) // the message of each record
	for i, record := range records {
		last := len(messages) - 1
		if last < 0 || len(messages[last].Data)+len(record) > ackMessageBytes {
			messages = append(messages, &nats.Msg{Subject: ackStream})
			last++
		}
		messages[last].Data = append(messages[last].Data, record...)
		of[i] = last
	}

	stored := j.topics.publisher.publish(ctx, messages...)
	answers := make([]publishAnswer, len(records))
	for i := range answers {
		answers[i] = stored[of[i]]
	}
	if stored[0].sequence >= j.first.Load()+snapshotAfter && j.snapshots.TryLock() {
		go func() {
			defer j.snapshots.Unlock()
			j.snapshot()
		}()
	}
	return answers
}

// snapshot writes the sets of all consumers to the journal, and removes everything before that. Records that are
// written meanwhile are kept, because a record only adds to a set. If snapshot fails, the next one tries again; its own
// records do no harm.
func (j *ackJournal) snapshot() {
	ctx, cancel := context.WithTimeout(context.Background(), trimTimeout)
	defer cancel()
	stream, err := j.topics.js.Stream(ctx, ackStream)
	if err != nil {
		return
	}
	first := stream.CachedInfo().State.LastSeq + 1 // everything before is in the sets

	for _, set := range j.all() {
		for _, record := range set.records() {
			if j.write(ctx, record)[0].err != nil {
				return
			}
		}
	}
	j.first.Store(first)
	j.topics.trimJournal(ackStream, first)
}
