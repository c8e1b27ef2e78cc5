package jetstream

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// movers is how many topics get due messages at once.
	movers = 4

	// sizeHeader has the size of a message whose data the engine was asked to leave out.
	sizeHeader = "Nats-Msg-Size"

	// soon is the longest delay of a message that the process which stored it moves by itself. Such a message does not
	// depend on the engine, which may be busy making many others due.
	soon = time.Minute

	// relistAfter is the pause before the list of due messages is read again after an error.
	relistAfter = time.Second
)

// A mover moves due messages to their topics. It reads which messages are due, in the
// order in which they became due, into a queue for each topic. Its workers take the
// queues in turn and a batch from each, so that a topic with many due messages, or one
// that refuses them, does not hold up another.
type mover struct {
	*Delayer
	stream jetstream.Stream
	valid  func() bool // reports whether this process may still move messages
	before uint64      // the last sequence of the stream when the mover started

	mu     sync.Mutex
	queues map[string]*dueQueue // by topic
	ready  []*dueQueue          // those with messages that no worker has and that need not wait
	wake   *sync.Cond           // signalled when ready grows, and at the end
	ended  bool
	listed bool // all messages up to before are in the queues, or were
}

// dueQueue has the due messages of one topic. The lock of the mover guards the first three fields; the others belong to
// the worker that has taken the queue.
type dueQueue struct {
	entries []dueEntry // that can be moved now
	taken   bool       // it is in ready, a worker has it, or it waits for its next attempt
	unsure  int        // messages that the topic may already have, those of the worker included

	topic    string
	mark     mark
	found    map[string]uint64      // ids that the topic has stored since mark; nil: not looked up
	early    map[earlyKey]time.Time // what was moved while it waited, and when
	failures int                    // attempts in a row that moved nothing
	dropped  int                    // messages dropped since the last line of the log
	pruned   time.Time              // when early was last pruned
	said     time.Time              // when the last line of the log about it was written
}

// earlyKey names a message. An id alone does not: it may be used again.
type earlyKey struct {
	id    string
	until int64
}

// dueEntry is one due message.
type dueEntry struct {
	sequence uint64 // in the stream of the delayed messages
	until    int64  // when it is due, in microseconds of Unix time
	size     int    // of its data
	after    uint64 // what the topic stored up to this sequence is not this message; known once it was read
	unsure   bool   // the topic may already have it
	plain    bool   // an earlier version stored it
	waiting  bool   // it still waits: the engine has not made it due
	anew     bool   // the topic knows its key from an earlier message
}

func newMover(d *Delayer, valid func() bool) *mover {
	m := &mover{Delayer: d, valid: valid, queues: make(map[string]*dueQueue)}
	m.wake = sync.NewCond(&m.mu)
	return m
}

// run moves due messages until ctx ends.
func (m *mover) run(ctx context.Context) {
	for !m.open(ctx) {
		if !sleep(ctx, relistAfter) {
			return
		}
	}

	var workers sync.WaitGroup
	for range movers {
		workers.Go(func() { m.work(ctx) })
	}
	m.list(ctx)

	m.mu.Lock()
	m.ended = true
	m.wake.Broadcast()
	m.mu.Unlock()
	workers.Wait()
	m.close()
}

// open looks up the last sequence of the stream. It reports whether it could.
func (m *mover) open(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, m.topics.opts.CallTimeout)
	defer cancel()
	stream, err := m.topics.js.Stream(ctx, delayStream)
	if err != nil {
		return false
	}
	m.stream, m.before = stream, stream.CachedInfo().State.LastSeq
	return true
}

// list adds the messages that are due or become due to the queues of their topics, until ctx ends. It reads them
// without their data.
func (m *mover) list(ctx context.Context) {
	for next := uint64(1); ; {
		err := m.listFrom(ctx, &next)
		if ctx.Err() != nil {
			return
		}
		m.log.Warn("cannot read which delayed messages are due: trying again", "error", err)
		if !sleep(ctx, relistAfter) {
			return
		}
	}
}

// listFrom adds the messages from the sequence next on, and moves next, until an error.
func (m *mover) listFrom(ctx context.Context, next *uint64) error {
	consumer, err := m.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{dueSubject + ">"},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    *next,
		HeadersOnly:    true,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()

	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		m.add(msg.Subject(), msg.Headers(), meta)
		*next = meta.Sequence.Stream + 1
	}
}

// add adds a due message to the queue of its topic at its time. The engine makes it due up to a second early, because
// it knows only whole seconds.
func (m *mover) add(subject string, header nats.Header, meta *jetstream.MsgMetadata) {
	encoded, id, _ := strings.Cut(strings.TrimPrefix(subject, dueSubject), ".")
	topic, _ := DecodeName(encoded)
	sequence := meta.Sequence.Stream
	e := dueEntry{sequence: sequence, unsure: sequence <= m.before, plain: id == ""}
	e.until, _ = strconv.ParseInt(header.Get(delayUntil), 10, 64)
	e.size, _ = strconv.Atoi(header.Get(sizeHeader))

	q := m.queue(topic)
	m.mu.Lock()
	if e.unsure {
		q.unsure++
	}
	m.listed = m.listed || sequence >= m.before || meta.NumPending == 0
	m.mu.Unlock()

	m.addLater(q, time.Until(time.UnixMicro(e.until)), e)
}

// queue returns the queue of a topic.
func (m *mover) queue(topic string) *dueQueue {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queues[topic]
	if q == nil {
		q = &dueQueue{topic: topic, early: make(map[earlyKey]time.Time)}
		m.queues[topic] = q
	}
	return q
}

// addLater adds messages to a queue after a pause.
func (m *mover) addLater(q *dueQueue, pause time.Duration, entries ...dueEntry) {
	if len(entries) == 0 {
		return
	}
	if pause > 0 {
		time.AfterFunc(pause, func() { m.addLater(q, 0, entries...) })
		return
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	q.entries = append(q.entries, entries...)
	if !q.taken {
		m.makeReady(q)
	}
}

// makeReady lets a worker take q. The caller holds the lock.
func (m *mover) makeReady(q *dueQueue) {
	q.taken = true
	m.ready = append(m.ready, q)
	m.wake.Signal()
}

// work moves batches until ctx ends.
func (m *mover) work(ctx context.Context) {
	for {
		q, batch := m.take()
		if q == nil {
			return
		}
		rest, pause := m.move(ctx, q, batch)
		m.putBack(q, rest, pause)
	}
}

// take waits for a queue that is ready, and takes a batch from it. It returns nil at the end.
func (m *mover) take() (*dueQueue, []dueEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.ready) == 0 && !m.ended {
		m.wake.Wait()
	}
	if m.ended {
		return nil, nil
	}

	q := m.ready[0]
	m.ready = m.ready[1:]
	n, bytes := 0, 0
	for n < len(q.entries) && n < q.batchSize() && (n == 0 || bytes+q.entries[n].size <= maxReadBytes) {
		bytes += q.entries[n].size
		n++
	}
	batch := q.entries[:n:n]
	if q.entries = q.entries[n:]; len(q.entries) == 0 {
		q.entries = nil
	}
	return q, batch
}

// putBack gives up a queue after an attempt. The messages in rest are tried again.
func (m *mover) putBack(q *dueQueue, rest []dueEntry, pause time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(rest) > 0 {
		q.entries = append(rest, q.entries...)
	}

	switch {
	case len(q.entries) == 0:
		q.taken = false
	case pause > 0:
		time.AfterFunc(pause, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.makeReady(q)
		})
	default:
		m.makeReady(q)
	}
}

// sleep waits, and reports whether ctx has not ended meanwhile.
func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
