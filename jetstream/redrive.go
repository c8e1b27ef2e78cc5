package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

const (
	// redriveBucket is the key-value bucket with an entry for each dead-letter topic whose redrive is under way, or
	// was interrupted, under its encoded name: a redriveRecord in JSON. It is created with the first redrive.
	redriveBucket = "dq_redrives"

	// maxExamined is how many messages of the dead-letter topic one call of Redrive looks at.
	maxExamined = 10_000
)

// A RedriveQuery says which dead letters to put back, and where.
type RedriveQuery struct {
	From     uint64 // the first sequence in the dead-letter topic; 0 is the oldest message
	To       string // the topic that gets them; "" is the topic from which each came
	Reason   string // only those that are there for that reason; "" is all
	Consumer string // only those of the consumer with that name or id; "" is all
	Limit    int    // how many to put back, at least 1

	// Allow returns an error if the caller may not produce to a topic. It becomes part of the result.
	Allow func(topic string) error
}

// A Redriven is what a call of [Topics.Redrive] has done.
type Redriven struct {
	Moved  int              // messages that were put back
	Failed []RedriveFailure // one for each topic that did not take all of its messages, in the order of their names
	Next   uint64           // the sequence with which to continue; 0 if every dead letter was looked at
	Left   uint64           // messages of the dead-letter topic from Next on
}

// A RedriveFailure says why messages for a topic stay where they are.
type RedriveFailure struct {
	Topic    string
	Messages int
	Err      error // of the first of them
}

// A redriveRecord says which topics may have messages that are still in the dead-letter topic as well: those which were
// stored after a sequence. It is stored before the first message is, and removed after the last was deleted.
type redriveRecord struct {
	Created int64             `json:"created"` // when the dead-letter topic was created
	After   map[string]uint64 `json:"after"`   // by topic
}

// A redrive is one call of [Topics.Redrive].
type redrive struct {
	topics *Topics
	lock   *topicLock
	kv     jetstream.KeyValue
	dead   Topic // the dead-letter topic
	query  RedriveQuery
	until  time.Time // when to stop

	record  redriveRecord
	changed bool             // the record is not stored as it is
	refuse  map[string]error // whether a topic takes messages: nil, or why not
	failed  map[string]*RedriveFailure
	out     Redriven
}

// Redrive puts messages of a dead-letter topic back into the topics from which they came, with their keys and headers.
// Each is stored there, and then deleted here. A call that was interrupted in between has left a record, with which the
// next call deletes what was stored: no message is put back twice. Messages that are no dead letters stay. The call
// stops after half of the time that ctx has.
// Errors: [*TopicNotFoundError], [*BusyError], [*StorageFullError], [*NotStoredError], [*UnavailableError].
func (t *Topics) Redrive(ctx context.Context, topic string, q RedriveQuery) (Redriven, error) {
	if CheckName(topic) != nil {
		return Redriven{}, &TopicNotFoundError{Topic: topic}
	}
	r := redrive{
		topics: t, query: q, refuse: make(map[string]error), failed: make(map[string]*RedriveFailure),
		until: time.Now().Add(t.opts.CallTimeout),
	}
	if deadline, ok := ctx.Deadline(); ok {
		r.until = time.Now().Add(time.Until(deadline) / 2)
	}

	// The topic can be neither purged nor deleted meanwhile, and no other call redrives it.
	result := make(chan Redriven, 1)
	err := t.alter(ctx, topic, func(ctx context.Context, lock *topicLock) error {
		r.lock = lock
		err := r.run(ctx, topic)
		result <- r.out
		return err
	})
	if err != nil {
		return Redriven{}, err
	}
	return <-result, nil
}

// run does the work of Redrive. The caller holds the lock of the topic.
func (r *redrive) run(ctx context.Context, topic string) (err error) {
	if r.dead, err = r.topics.Describe(ctx, topic); err != nil {
		return err
	}
	if err := r.finishEarlier(ctx); err != nil {
		return err
	}

	next := max(r.query.From, 1)
	for examined := 0; r.out.Moved < r.query.Limit && examined < maxExamined && time.Now().Before(r.until); {
		messages, err := r.topics.Read(ctx, topic, Range{
			From: next, Max: min(r.query.Limit-r.out.Moved, maxExamined-examined), MaxBytes: maxReadBytes,
		})
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			return r.end(ctx, 0)
		}
		if err := r.move(ctx, messages); err != nil {
			return err
		}
		examined += len(messages)
		next = messages[len(messages)-1].Sequence + 1
	}
	return r.end(ctx, next)
}

// end removes the record, and sets what is left from the sequence next on; 0 is nothing.
func (r *redrive) end(ctx context.Context, next uint64) (err error) {
	if len(r.record.After) > 0 {
		// The deletions go to disk first: without the record, nobody would look for what they deleted.
		if err := r.topics.opts.sync(ctx); err != nil {
			return err
		}
		if err := r.kv.Purge(ctx, EncodeName(r.dead.Name)); err != nil {
			return engine.Unavailable("remove the record of the redrive", err)
		}
	}

	for _, topic := range slices.Sorted(maps.Keys(r.failed)) {
		r.out.Failed = append(r.out.Failed, *r.failed[topic])
	}
	if next > 0 {
		r.out.Left, err = r.topics.Pending(ctx, r.dead.Name, next, "")
	}
	if r.out.Left > 0 {
		r.out.Next = next
	}
	return err
}

// idPrefix starts the ids of the messages that are put back. It is followed by their sequence.
func (r *redrive) idPrefix() string {
	return fmt.Sprintf("%sredrive-%s-%d-", ReservedIDPrefix, EncodeName(r.dead.Name), r.dead.Created.UnixNano())
}

// finishEarlier deletes the messages that an interrupted call has put back and not deleted.
func (r *redrive) finishEarlier(ctx context.Context) (err error) {
	r.kv, err = EnsureBucket(ctx, r.topics.js, Bucket{
		Name:        redriveBucket,
		Description: "which redrives of dead letters are under way",
		Storage:     r.topics.opts.Storage,
		Replicas:    r.topics.opts.Replicas,
	})
	if err != nil {
		return engine.Unavailable("open the record of redrives", err)
	}
	entry, err := r.kv.Get(ctx, EncodeName(r.dead.Name))
	if err == nil {
		err = json.Unmarshal(entry.Value(), &r.record)
	}
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return engine.Unavailable("read the record of redrives", err)
	}

	created := r.dead.Created.UnixNano()
	if r.record.Created != created { // there is none, or it is about an earlier topic of that name
		r.record = redriveRecord{Created: created, After: make(map[string]uint64)}
		return nil
	}
	for topic, after := range r.record.After {
		if err := r.deleteStored(ctx, topic, after); err != nil {
			return err
		}
	}
	return nil
}

// deleteStored deletes the messages that topic has stored after a sequence.
func (r *redrive) deleteStored(ctx context.Context, topic string, after uint64) error {
	var none *TopicNotFoundError
	last, err := r.topics.LastSequence(ctx, topic)
	if errors.As(err, &none) {
		return nil
	} else if err != nil {
		return err
	}
	ids, err := r.topics.idsAfter(ctx, topic, after, last)
	if err != nil {
		return err
	}

	var stored []dueEntry
	for id := range ids {
		text, ours := strings.CutPrefix(id, r.idPrefix())
		if sequence, err := strconv.ParseUint(text, 10, 64); ours && err == nil {
			stored = append(stored, dueEntry{sequence: sequence})
		}
	}
	return r.remove(ctx, stored)
}

// move puts those of messages back that the query asks for.
func (r *redrive) move(ctx context.Context, messages []Message) error {
	drafts, from := make(map[string][]Draft), make(map[string][]dueEntry)
	for i := range messages {
		topic := r.target(&messages[i])
		if topic == "" {
			continue
		}
		refused, err := r.prepare(ctx, topic)
		if err != nil {
			return err
		}
		if refused != nil {
			r.fail(topic, refused)
			continue
		}
		drafts[topic] = append(drafts[topic], r.draft(&messages[i]))
		from[topic] = append(from[topic], dueEntry{sequence: messages[i].Sequence})
	}

	if err := r.storeRecord(ctx); err != nil {
		return err
	}
	for topic, drafts := range drafts {
		if err := r.moveTo(ctx, topic, drafts, from[topic]); err != nil {
			return err
		}
	}
	return nil
}

// target returns the topic to which m is to be put back, "" if m is to stay.
func (r *redrive) target(m *Message) string {
	origin, q := m.Headers[deadTopicHeader], r.query
	switch {
	case origin == "",
		q.Reason != "" && q.Reason != m.Headers[deadReasonHeader],
		q.Consumer != "" && q.Consumer != m.Headers[deadConsumerHeader]:
		return ""
	case q.To != "":
		return q.To
	case origin == r.dead.Name:
		return ""
	}
	return origin
}

// draft returns m as it was before it became a dead letter.
func (r *redrive) draft(m *Message) Draft {
	headers := make(map[string]string, len(m.Headers))
	for name, value := range m.Headers {
		if !ReservedHeader(name) {
			headers[name] = value
		}
	}
	return Draft{
		Key: m.Key, ContentType: m.ContentType, Headers: headers, Data: m.Data,
		ID: r.idPrefix() + strconv.FormatUint(m.Sequence, 10),
	}
}

// prepare checks whether topic can be written to, and notes how far it is. It returns why
// the topic takes no message, nil if it does.
func (r *redrive) prepare(ctx context.Context, topic string) (refused, err error) {
	if refused, known := r.refuse[topic]; known {
		return refused, nil
	}
	if refused = r.query.Allow(topic); refused == nil {
		var last uint64
		last, err = r.topics.LastSequence(ctx, topic)
		if err != nil && staysDead(err) {
			refused, err = err, nil
		}
		if _, noted := r.record.After[topic]; err == nil && refused == nil && !noted {
			r.record.After[topic], r.changed = last, true
		}
	}
	r.refuse[topic] = refused
	return refused, err
}

// storeRecord stores which topics the messages go to, if that has changed.
func (r *redrive) storeRecord(ctx context.Context) error {
	if !r.changed {
		return nil
	}
	value, err := json.Marshal(r.record)
	if err == nil {
		_, err = r.kv.Put(ctx, EncodeName(r.dead.Name), value)
	}
	if err != nil {
		return engine.Unavailable("record the redrive", err)
	}
	r.changed = false
	return r.topics.opts.sync(ctx) // the messages must not survive alone
}

// moveTo stores drafts in topic, and deletes the messages that they are made of.
func (r *redrive) moveTo(ctx context.Context, topic string, drafts []Draft, from []dueEntry) error {
	var failed error
	stored := make([]dueEntry, 0, len(from))
	for i, receipt := range r.topics.PublishAll(ctx, topic, drafts) {
		switch {
		case receipt.Err == nil:
			stored = append(stored, from[i])
		case staysDead(receipt.Err):
			r.fail(topic, receipt.Err)
		default:
			failed = receipt.Err
		}
	}

	if err := r.topics.opts.sync(ctx); err != nil {
		return err
	}
	if err := r.remove(ctx, stored); err != nil {
		return err
	}
	r.out.Moved += len(stored)
	return failed
}

// remove deletes messages from the dead-letter topic.
func (r *redrive) remove(ctx context.Context, messages []dueEntry) error {
	if len(messages) == 0 {
		return nil
	}
	if err := r.lock.check(); err != nil {
		return err
	}
	defer r.topics.purges(r.dead.Name).Add(1)
	return r.topics.deleteMessages(ctx, StreamName(r.dead.Name), messages)
}

// fail notes that a message for topic stays where it is.
func (r *redrive) fail(topic string, err error) {
	f := r.failed[topic]
	if f == nil {
		f = &RedriveFailure{Topic: topic, Err: err}
		r.failed[topic] = f
	}
	f.Messages++
}

// staysDead reports whether err is about one topic or message, so that the others can go on.
func staysDead(err error) bool {
	var full *FullError
	var tooLarge *MessageTooLargeError
	var none *TopicNotFoundError
	var damaged *TopicDamagedError
	return errors.As(err, &full) || errors.As(err, &tooLarge) || errors.As(err, &none) || errors.As(err, &damaged)
}
