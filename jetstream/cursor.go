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

	"dq/jetstream/engine"
)

// cursorBucket is the key-value bucket with an entry for each consumer, under
// its id: a [Cursor] in JSON or, for one that is nothing but a position, the
// decimal sequence.
const cursorBucket = "dq_cursors"

// A Cursor is all that is stored of how far a consumer is.
type Cursor struct {
	// Position is the sequence handed out last. All behind it is still to come.
	Position uint64 `json:"position"`
	// Leases are the messages that were handed out and are not acknowledged yet,
	// in the order of their sequences.
	Leases []Lease `json:"leases,omitempty"`
	// Epoch counts the seeks: a token of an earlier epoch holds no lease.
	Epoch uint64 `json:"epoch,omitempty"`
	// Stream counts the streams that took over from others.
	Stream uint64 `json:"stream,omitempty"`
	// PausedUntil is when a paused consumer goes on.
	PausedUntil time.Time `json:"paused_until,omitzero"`
	// Gone says that the consumer was deleted. The entry stays, lest a call that
	// was under way makes it anew.
	Gone bool `json:"gone,omitempty"`

	revision uint64 // of the entry; 0 if there is none yet
}

// A Lease is a message that a worker has, for a time.
type Lease struct {
	Sequence   uint64 `json:"s"`
	Deliveries int    `json:"n"` // how often it was handed out
	// Until is when it is handed out again, in milliseconds of Unix time.
	Until int64 `json:"u"`
}

// clone is a cursor whose leases can be changed.
func (c Cursor) clone() Cursor {
	c.Leases = slices.Clone(c.Leases)
	return c
}

// moved reports whether c is was at another position, and has no leases.
func (c Cursor) moved(was Cursor) bool {
	return len(c.Leases) == 0 && len(was.Leases) == 0 && c.Epoch == was.Epoch && c.Stream == was.Stream &&
		c.PausedUntil.Equal(was.PausedUntil) && c.Gone == was.Gone
}

func (c Cursor) paused(now time.Time) bool { return now.Before(c.PausedUntil) }

// encode is the cursor as it is stored.
func (c Cursor) encode() ([]byte, error) {
	if len(c.Leases) == 0 && c.Epoch == 0 && c.Stream == 0 && c.PausedUntil.IsZero() && !c.Gone {
		return strconv.AppendUint(nil, c.Position, 10), nil
	}
	return json.Marshal(c)
}

// decodeCursor is the inverse of encode.
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
	lane    *lane[*nats.Msg]
	journal *journal // what is newer than the entries; nil if other processes may change them
}

func openCursors(ctx context.Context, topics *Topics) (*cursors, error) {
	kv, err := topics.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      cursorBucket,
		Description: "the sequence that each consumer consumed last",
		Storage:     topics.opts.Storage,
		Replicas:    topics.opts.Replicas,
	})
	if err != nil {
		return nil, engine.Unavailable("open the positions", err)
	}
	c := &cursors{kv: kv, lane: topics.newLane()}
	if topics.opts.Alone {
		c.journal, err = openJournal(ctx, topics)
		return c, err
	}
	return c, c.fold(ctx, topics)
}

// load reads a consumer's cursor. One that never consumed stands at start.
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

// all reads the cursors of all consumers that have one, as they are stored.
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

// store replaces a consumer's cursor, which was that, by next. It is stored when
// store returns, and stored says whether it was; if not, the cursor was changed
// meanwhile.
func (c *cursors) store(ctx context.Context, consumer int64, was, next Cursor) (_ Cursor, stored bool, err error) {
	if c.journal != nil && next.moved(was) {
		stored, err = c.journal.move(ctx, record{consumer: consumer, revision: was.revision, from: was.Position, to: next.Position})
		return next, stored, err
	}
	if next, stored, err = c.replace(ctx, consumer, next); stored && c.journal != nil {
		c.journal.drop(consumer)
	}
	return next, stored, err
}

// replace replaces a consumer's entry if it has the revision of next. It is the
// bucket's own way of storing, without what a library call costs.
func (c *cursors) replace(ctx context.Context, consumer int64, next Cursor) (_ Cursor, stored bool, err error) {
	value, err := next.encode()
	if err != nil {
		return next, false, engine.Unavailable("store the position", err)
	}
	answer := c.lane.ride(ctx, &nats.Msg{
		Subject: "$KV." + cursorBucket + "." + cursorKey(consumer),
		Header:  nats.Header{jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(next.revision, 10)}},
		Data:    value,
	})
	var api *jetstream.APIError
	switch {
	case errors.As(answer.err, &api) && (api.ErrorCode == codeWrongLastSequence || api.ErrorCode == codeWrongLastSeqR3):
		return next, false, nil
	case answer.err != nil:
		return next, false, engine.Unavailable("store the position", answer.err)
	}
	next.revision = answer.sequence
	return next, true, nil
}

// fold brings the entries of all consumers up to date with the journal that a
// process left which had the engine to itself, and ends it: now others may change
// the entries, and look at nothing else.
func (c *cursors) fold(ctx context.Context, topics *Topics) error {
	last, err := readJournal(ctx, topics)
	if errors.Is(err, nats.ErrNoResponders) {
		return nil // there is none
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
	if err := topics.js.DeleteStream(ctx, journalStream); err != nil && !missing(err) {
		return engine.Unavailable("end the journal of positions", err)
	}
	return nil
}

func cursorKey(consumer int64) string { return strconv.FormatInt(consumer, 10) }
