package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"dq/jetstream/engine"
)

// cursorBucket is the key-value bucket with an entry for each consumer that has
// consumed, under its id: a [Cursor] in JSON or, if nothing but the position is set,
// the position as a decimal number.
const cursorBucket = "dq_cursors"

// A Cursor is the stored state of a consumer.
type Cursor struct {
	// Position is the sequence delivered last. The messages after it were never
	// delivered.
	Position uint64 `json:"position"`
	// Leases are the messages that were delivered and are not acknowledged yet, in
	// the order of their sequences.
	Leases []Lease `json:"leases,omitempty"`
	// Epoch counts the seeks: a token of an earlier epoch holds no lease.
	Epoch uint64 `json:"epoch,omitempty"`
	// Stream counts how often a stream of the consumer took over from another.
	Stream uint64 `json:"stream,omitempty"`
	// PausedUntil is when the pause ends; zero if the consumer is not paused.
	PausedUntil time.Time `json:"paused_until,omitzero"`
	// Dropped is what was removed before the consumer had read it; nil if nothing is
	// known beyond what the consumer was registered with.
	Dropped *Dropped `json:"dropped,omitempty"`
	// Gone says that the consumer was deleted. The entry stays, so that a call that
	// was under way cannot create it again.
	Gone bool `json:"gone,omitempty"`

	revision uint64 // of the entry; 0 if there is none yet
}

// A Lease is a message that was delivered to a worker and is not acknowledged yet.
type Lease struct {
	Sequence   uint64 `json:"s"`
	Deliveries int    `json:"n"` // how often it was delivered
	// Until is when it is delivered again, in milliseconds of Unix time.
	Until int64 `json:"u"`
}

// clone returns a copy whose leases can be changed.
func (c Cursor) clone() Cursor {
	c.Leases = slices.Clone(c.Leases)
	return c
}

// moved reports whether c differs from was only in its position, and neither has
// leases. Only such a change goes into the journal.
func (c Cursor) moved(was Cursor) bool {
	return len(c.Leases) == 0 && len(was.Leases) == 0 && c.Epoch == was.Epoch && c.Stream == was.Stream &&
		c.PausedUntil.Equal(was.PausedUntil) && c.Dropped == was.Dropped && c.Gone == was.Gone
}

func (c Cursor) paused(now time.Time) bool { return now.Before(c.PausedUntil) }

// encode returns the value of the entry that stores c.
func (c Cursor) encode() ([]byte, error) {
	if len(c.Leases) == 0 && c.Epoch == 0 && c.Stream == 0 && c.PausedUntil.IsZero() && c.Dropped == nil && !c.Gone {
		return strconv.AppendUint(nil, c.Position, 10), nil
	}
	return json.Marshal(c)
}

// decodeCursor reads the value of an entry; it is the inverse of encode.
func decodeCursor(value []byte) (c Cursor, err error) {
	if len(value) > 0 && value[0] == '{' {
		err = json.Unmarshal(value, &c)
		return c, err
	}
	c.Position, err = strconv.ParseUint(string(value), 10, 64)
	return c, err
}

// cursors are the stored cursors of all consumers.
type cursors struct {
	kv      jetstream.KeyValue
	batcher *batcher[*nats.Msg]
	journal *journal         // positions newer than the entries; nil if other processes may change these
	shared  jetstream.Stream // of the bucket; nil if no other process reaches the engine
}

// writeHeader tells apart the writes of an entry, or of messages with the same expected sequence, where several
// processes write. Readers do not get it.
const writeHeader = "Dq-Write"

func openCursors(ctx context.Context, topics *Topics) (*cursors, error) {
	kv, err := EnsureBucket(ctx, topics.js, Bucket{
		Name:        cursorBucket,
		Description: "the sequence that each consumer consumed last",
		Storage:     topics.opts.Storage,
		Replicas:    topics.opts.Replicas,
	})
	if err != nil {
		return nil, engine.Unavailable("open the positions", err)
	}

	c := &cursors{kv: kv, batcher: topics.newBatcher()}
	if topics.opts.Alone {
		c.journal, err = openJournal(ctx, topics)
		return c, err
	}
	if c.shared, err = topics.lookUp(ctx, bucketStream(cursorBucket)); err != nil {
		return nil, engine.Unavailable("open the positions", err)
	}
	return c, c.fold(ctx, topics)
}

// load reads a consumer's cursor. If none is stored, it returns one at position start.
func (c *cursors) load(ctx context.Context, consumer int64, start uint64) (Cursor, error) {
	cursor := Cursor{Position: start}
	entry, err := c.kv.Get(ctx, cursorKey(consumer))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
	case err != nil:
		return Cursor{}, engine.Unavailable("read the position", err)
	default:
		if cursor, err = decodeCursor(entry.Value()); err != nil {
			return Cursor{}, engine.Unavailable("read the position", err)
		}
		cursor.revision = entry.Revision()
	}

	if cursor.Gone {
		return Cursor{}, &ConsumerNotFoundError{Consumer: strconv.FormatInt(consumer, 10), Deleted: true}
	}
	if c.journal != nil {
		c.journal.apply(consumer, &cursor)
	}
	return cursor, nil
}

// all returns the stored cursors of all consumers, by id.
func (c *cursors) all(ctx context.Context, topics *Topics) (map[int64]Cursor, error) {
	all := make(map[int64]Cursor)
	err := readAll(ctx, topics, "KV_"+cursorBucket, func(m Message) error {
		id, err := strconv.ParseInt(m.Key, 10, 64)
		if err != nil {
			return err
		}
		cursor, err := decodeCursor(m.Data)
		cursor.revision = m.Sequence
		if c.journal != nil {
			c.journal.apply(id, &cursor)
		}
		all[id] = cursor
		return err
	})
	return all, err
}

// store replaces the consumer's cursor was with next. If the cursor was changed
// meanwhile, it stores nothing and returns false. It returns next with its new revision.
func (c *cursors) store(ctx context.Context, consumer int64, was, next Cursor) (_ Cursor, stored bool, err error) {
	if c.journal != nil && next.moved(was) {
		r := record{consumer: consumer, revision: was.revision, from: was.Position, to: next.Position}
		stored, err = c.journal.move(ctx, r)
		return next, stored, err
	}
	if next, stored, err = c.replace(ctx, consumer, next); stored && c.journal != nil {
		c.journal.drop(consumer)
	}
	return next, stored, err
}

// replace replaces a consumer's entry if it still has the revision of next. It does
// what the library's Update of a bucket does, through the batcher, which costs less.
func (c *cursors) replace(ctx context.Context, consumer int64, next Cursor) (_ Cursor, stored bool, err error) {
	value, err := next.encode()
	if err != nil {
		return next, false, engine.Unavailable("store the position", err)
	}
	m := &nats.Msg{
		Subject: "$KV." + cursorBucket + "." + cursorKey(consumer),
		Header:  nats.Header{jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(next.revision, 10)}},
		Data:    value,
	}
	if c.shared != nil {
		m.Header[writeHeader] = []string{nuid.Next()}
	}

	answer := c.batcher.submit(ctx, m)
	if answer.err != nil && !reachedNobody(answer.err) && c.shared != nil {
		if revision, ok := c.readBack(ctx, m); ok {
			answer = publishAnswer{sequence: revision}
		}
	}

	var api *jetstream.APIError
	switch {
	case errors.As(answer.err, &api) && (api.ErrorCode == codeWrongLastSequence || api.ErrorCode == codeWrongLastSeqR3):
		return next, false, nil
	case reachedNobody(answer.err):
		return next, false, &NotStoredError{Operation: "store the position", Err: answer.err}
	case answer.err != nil:
		return next, false, engine.Unavailable("store the position", answer.err)
	}
	next.revision = answer.sequence
	return next, true, nil
}

// readBack reports whether the entry that m was to write has been written with m. A lost leader may have stored it
// without an answer, and a leader that stood still may refuse what its successor has stored.
func (c *cursors) readBack(ctx context.Context, m *nats.Msg) (revision uint64, ok bool) {
	// The time of the call may be over.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), firstAttempt)
	defer cancel()
	stored, err := c.shared.GetLastMsgForSubject(ctx, m.Subject)
	if err != nil || stored.Header.Get(writeHeader) != m.Header.Get(writeHeader) {
		return 0, false
	}
	return stored.Sequence, true
}

// fold writes the positions of the journal into the entries of their consumers, and
// deletes the journal. An earlier process, which had the engine to itself, left the
// journal; now other processes may read and change the entries, and do not read it.
func (c *cursors) fold(ctx context.Context, topics *Topics) error {
	last, err := readJournal(ctx, topics)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil // no journal exists
	}
	if err != nil {
		return err
	}

	for consumer, r := range last {
		cursor, err := c.load(ctx, consumer, r.from)
		var gone *ConsumerNotFoundError
		switch {
		case errors.As(err, &gone):
			continue
		case err != nil:
			return err
		case cursor.revision != r.revision:
			continue
		}
		cursor.Position = r.to
		if _, _, err := c.replace(ctx, consumer, cursor); err != nil {
			return err
		}
	}

	if err := topics.opts.flush(ctx); err != nil {
		return err
	}
	if err := topics.js.DeleteStream(ctx, journalStream); err != nil && !isMissing(err) {
		return engine.Unavailable("end the journal of positions", err)
	}
	return nil
}

func cursorKey(consumer int64) string { return strconv.FormatInt(consumer, 10) }
