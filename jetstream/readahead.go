package jetstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// A read for a consumer reads more messages than it needs now, within these
	// bounds, and serves its next calls from them.
	readAheadMessages = 64
	readAheadBytes    = 64 << 10

	// readAheadAge is how long messages that were read ahead may be used. After a
	// purge by this process they are not used at all. They are dropped some time
	// later: those of a consumer that sleeps would take a megabyte for ever.
	readAheadAge = time.Second

	// keptReads is the number of reads that are kept for other consumers, usually of
	// at most readAheadBytes each.
	keptReads = 512
)

// sharedReads are the latest reads of a process that has the engine to itself.
// Consumers of one topic are often at the same position, and then one read serves
// all of them. Where another process may delete a topic and create it again, no
// reads are shared.
type sharedReads struct {
	topics *Topics
	kept   *lru.Cache[readKey, *sharedRead] // nil: no reads are shared
}

// readKey says which messages a read asks for.
type readKey struct {
	topic, key string
	from       uint64
}

// readAhead is the result of a read.
type readAhead struct {
	messages []Message
	purges   uint64 // of the topic, before the read
	at       time.Time

	purged *purgeRecord // of the topic, after the read; nil if it was not needed
}

// good reports whether r has messages that may still be used.
func (r *readAhead) good(t *Topics, topic string) bool {
	return len(r.messages) > 0 && r.purges == t.purges(topic).Load() && time.Since(r.at) < readAheadAge
}

// sharedRead is the latest read for one key. Calls for the same key take turns.
type sharedRead struct {
	begun atomic.Uint64 // reads that have begun

	mu   sync.Mutex // held while the engine reads
	last readAhead
	err  error
}

func newSharedReads(topics *Topics) (*sharedReads, error) {
	if !topics.opts.Alone {
		return &sharedReads{topics: topics}, nil
	}
	kept, err := lru.New[readKey, *sharedRead](keptReads)
	return &sharedReads{topics: topics, kept: kept}, err
}

// read returns messages for consumer, from the sequence from on: at least wanted if the
// topic has as many, and none only if it has none. The caller must not change them.
// Errors: those of [Topics.Read].
func (s *sharedReads) read(ctx context.Context, consumer Consumer, from uint64, wanted int) (readAhead, error) {
	if s.kept == nil {
		return s.ask(ctx, consumer, from, wanted)
	}

	key := readKey{topic: consumer.Topic, key: consumer.Key, from: from}
	r, ok := s.kept.Get(key)
	if !ok {
		r = &sharedRead{}
		if other, found, _ := s.kept.PeekOrAdd(key, r); found {
			r = other
		}
	}

	before := r.begun.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	// A read that found nothing counts only if it began after this call: since an
	// earlier one, a message may have been stored.
	if r.last.good(s.topics, consumer.Topic) || r.begun.Load() > before {
		return r.last, r.err
	}

	r.begun.Add(1)
	out, err := s.ask(ctx, consumer, from, wanted)
	r.last, r.err = out, err
	if sizeOf(out.messages) > 2*readAheadBytes { // too large to keep; a single message may be
		s.kept.Remove(key)
	}
	return out, err
}

// ask reads from the engine.
func (s *sharedReads) ask(
	ctx context.Context, consumer Consumer, from uint64, wanted int,
) (out readAhead, err error) {
	out.purges, out.at = s.topics.purges(consumer.Topic).Load(), time.Now()
	if s.topics.opts.Alone {
		wanted = max(wanted, readAheadMessages)
	}
	out.messages, err = s.topics.Read(ctx, consumer.Topic, Range{
		From: from, Key: consumer.Key, Max: wanted, MaxBytes: readAheadBytes,
	})
	return out, err
}

func sizeOf(messages []Message) (bytes int) {
	for i := range messages {
		bytes += len(messages[i].Data)
	}
	return bytes
}

// dropLater has what was read ahead dropped when it is too old to be used.
func (c *Consumers) dropLater() {
	if !c.dropping.CompareAndSwap(false, true) {
		return
	}
	c.after(2*readAheadAge, func() {
		c.dropping.Store(false)
		if c.dropOld(time.Now()) {
			c.dropLater()
		}
	})
}

// dropOld drops what was read ahead and is too old to be used at that time. It
// reports whether anything is left.
func (c *Consumers) dropOld(now time.Time) (left bool) {
	for _, s := range c.active.Values() {
		if !s.turn.TryAcquire(1) {
			left = true
			continue
		}
		switch {
		case s.ahead.messages == nil:
		case now.Sub(s.ahead.at) < readAheadAge:
			left = true
		default:
			s.ahead = readAhead{}
		}
		s.turn.Release(1)
	}
	return c.reads.dropOld(now) || left
}

// dropOld drops the reads that are too old to be used at that time. It reports
// whether any is left.
func (s *sharedReads) dropOld(now time.Time) (left bool) {
	if s.kept == nil {
		return false
	}

	for _, key := range s.kept.Keys() {
		r, ok := s.kept.Peek(key)
		if !ok {
			continue
		}
		if !r.mu.TryLock() { // it is in use
			left = true
			continue
		}

		if now.Sub(r.last.at) < readAheadAge {
			left = true
		} else {
			s.kept.Remove(key)
		}
		r.mu.Unlock()
	}
	return left
}
