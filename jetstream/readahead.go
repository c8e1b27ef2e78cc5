package jetstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// A consumer that is behind is served from messages read ahead for it: as
	// many as one read brings, within these bounds, or as many as it asks for.
	readAheadMessages = 64
	readAheadBytes    = 64 << 10

	// readAheadAge is how long what was read ahead is good. A purge by this
	// process ends that at once.
	readAheadAge = time.Second

	// keptReads is how many reads are kept for others, of at most readAheadBytes
	// each.
	keptReads = 512
)

// sharedReads are the last reads of a process that has the engine to itself. The
// consumers of a topic are often at the same place, and then one read serves all.
// Where another process may delete a topic and make it anew, nothing is shared.
type sharedReads struct {
	topics *Topics
	kept   *lru.Cache[readPlace, *sharedRead] // nil: nothing is shared
}

// readPlace is where a read begins.
type readPlace struct {
	topic, key string
	from       uint64
}

// readAhead is what was read, and what it depends on.
type readAhead struct {
	messages []Message
	purges   uint64 // of the topic, before it was read
	at       time.Time
}

// good reports whether there are messages, which are still there.
func (r *readAhead) good(t *Topics, topic string) bool {
	return len(r.messages) > 0 && r.purges == t.purges(topic).Load() && time.Since(r.at) < readAheadAge
}

// sharedRead is what one place is read by, one call after the other.
type sharedRead struct {
	begun atomic.Uint64 // reads

	mu   sync.Mutex // held while the engine reads
	last readAhead
	err  error
}

func newSharedReads(topics *Topics) (*sharedReads, error) {
	if !topics.opts.Alone {
		return &sharedReads{topics: topics}, nil
	}
	kept, err := lru.New[readPlace, *sharedRead](keptReads)
	return &sharedReads{topics: topics, kept: kept}, err
}

// read returns messages of consumer from a place on, at least as many as are
// there when there are few, none if there are none. They must not be changed.
func (s *sharedReads) read(ctx context.Context, consumer Consumer, from uint64, most int) (readAhead, error) {
	if s.kept == nil {
		return s.ask(ctx, consumer, from, most)
	}
	place := readPlace{consumer.Topic, consumer.Key, from}
	r, ok := s.kept.Get(place)
	if !ok {
		r = &sharedRead{}
		if other, found, _ := s.kept.PeekOrAdd(place, r); found {
			r = other
		}
	}
	before := r.begun.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	// That there is no message is good news only from a read that began after
	// this call did.
	if r.last.good(s.topics, consumer.Topic) || r.begun.Load() > before {
		return r.last, r.err
	}
	r.begun.Add(1)
	out, err := s.ask(ctx, consumer, from, most)
	r.last, r.err = out, err
	if sizeOf(out.messages) > 2*readAheadBytes { // much, which a single message may be
		s.kept.Remove(place)
	}
	return out, err
}

func (s *sharedReads) ask(ctx context.Context, consumer Consumer, from uint64, most int) (out readAhead, err error) {
	out.purges, out.at = s.topics.purges(consumer.Topic).Load(), time.Now()
	out.messages, err = s.topics.Read(ctx, consumer.Topic, Range{
		From: from, Key: consumer.Key, Max: max(most, readAheadMessages), MaxBytes: readAheadBytes,
	})
	return out, err
}

func sizeOf(messages []Message) (bytes int) {
	for i := range messages {
		bytes += len(messages[i].Data)
	}
	return bytes
}
