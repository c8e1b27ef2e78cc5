package jetstream

import (
	"context"
	"errors"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// cursorBucket is the key-value bucket with an entry for each consumer: the
// decimal sequence that it consumed last, under its id.
const cursorBucket = "dq_cursors"

// A Cursor is a consumer's position as it is stored.
type Cursor struct {
	Position uint64 // the sequence consumed last
	revision uint64 // of the entry; 0 if there is none yet
}

// cursors are the stored positions of all consumers.
type cursors struct{ kv jetstream.KeyValue }

func openCursors(ctx context.Context, js jetstream.JetStream, storage Storage) (*cursors, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      cursorBucket,
		Description: "the sequence that each consumer consumed last",
		Storage:     storage,
	})
	if err != nil {
		return nil, unavailable("open the positions", err)
	}
	return &cursors{kv: kv}, nil
}

// load reads a consumer's cursor. One that never consumed stands at start.
func (c *cursors) load(ctx context.Context, consumer int64, start uint64) (Cursor, error) {
	entry, err := c.kv.Get(ctx, cursorKey(consumer))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return Cursor{Position: start}, nil
	case err != nil:
		return Cursor{}, unavailable("read the position", err)
	}
	position, err := strconv.ParseUint(string(entry.Value()), 10, 64)
	if err != nil {
		return Cursor{}, unavailable("read the position", err)
	}
	return Cursor{Position: position, revision: entry.Revision()}, nil
}

// store moves a consumer from cursor to position, if cursor is still where it
// stands. The new position is stored when it returns, and moved says whether
// it was; if it was not, another process moved the consumer meanwhile.
func (c *cursors) store(ctx context.Context, consumer int64, cursor Cursor, position uint64) (_ Cursor, moved bool, err error) {
	revision, err := c.kv.Update(ctx, cursorKey(consumer), strconv.AppendUint(nil, position, 10), cursor.revision)
	switch {
	case errors.Is(err, jetstream.ErrKeyRevisionMismatch):
		return cursor, false, nil
	case err != nil:
		return cursor, false, unavailable("store the position", err)
	}
	return Cursor{Position: position, revision: revision}, true, nil
}

func cursorKey(consumer int64) string { return strconv.FormatInt(consumer, 10) }
