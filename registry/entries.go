package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"dq/jetstream"
)

// kind is what an id stands for. Each kind has a sequence of ids of its own.
type kind string

const (
	producer kind = "producer"
	consumer kind = "consumer"
)

// entryID names an entry. It is the key of what a process remembers, as looking
// one up must not allocate.
type entryID struct {
	kind   kind
	number int64
}

// key returns the key of the entry in the bucket, such as "consumer.0".
func (id entryID) key() string { return string(id.kind) + "." + strconv.FormatInt(id.number, 10) }

// parseKey reads what key wrote; ok is false for the key of something else.
func parseKey(key string) (id entryID, ok bool) {
	word, number, _ := strings.Cut(key, ".")
	n, err := strconv.ParseInt(number, 10, 64)
	return entryID{kind(word), n}, err == nil && (kind(word) == producer || kind(word) == consumer)
}

// notFound returns the error of an entry that does not exist.
func (id entryID) notFound() error {
	text := strconv.FormatInt(id.number, 10)
	if id.kind == producer {
		return &ProducerNotFoundError{Producer: text}
	}
	return &jetstream.ConsumerNotFoundError{Consumer: text}
}

// deleted returns the error of an entry that was deleted.
func (id entryID) deleted(topic string) error {
	text := strconv.FormatInt(id.number, 10)
	if id.kind == producer {
		return &ProducerNotFoundError{Producer: text, Deleted: true, Topic: topic}
	}
	return &jetstream.ConsumerNotFoundError{Consumer: text, Deleted: true, Topic: topic}
}

// record is the JSON that the bucket stores for an id. For a producer, only the topic
// is set. Older versions of dq wrote the same fields.
type record struct {
	jetstream.Consumer
	// Deleted is set when the producer, the consumer or the topic was deleted. The
	// entry stays, as its id is never given out again.
	Deleted bool `json:"gone,omitempty"`
}

// decodeRecord reads the stored value of an entry.
func decodeRecord(id entryID, value []byte) (record, error) {
	var rec record
	if err := json.Unmarshal(value, &rec); err != nil {
		return record{}, fmt.Errorf("entry %s: %w", id.key(), err)
	}
	rec.ID = id.number
	return rec, nil
}

// allocator gives out the ids of one kind.
type allocator struct {
	turn *semaphore.Weighted // held by the caller that creates an entry
	next int64               // every id below it is known to be taken
}

// create stores rec under a new id and returns the id: the smallest that was not
// given out yet.
func (r *Registry) create(ctx context.Context, k kind, rec record) (int64, error) {
	value, err := json.Marshal(rec)
	if err != nil {
		return 0, fmt.Errorf("encode a registration: %w", err)
	}

	a := r.allocators[k]
	if err := a.turn.Acquire(ctx, 1); err != nil {
		return 0, unavailable("register", err)
	}
	defer a.turn.Release(1)

	for {
		id := entryID{k, a.next}
		_, err := r.kv.Create(ctx, id.key(), value)
		switch {
		case err == nil:
			rec.ID = id.number
			r.known.PeekOrAdd(id, rec) // it may have been deleted again since, which is known then
			a.next++
			return id.number, nil
		case errors.Is(err, natsjs.ErrKeyExists):
			if a.next, err = r.firstFree(ctx, k, a.next+1); err != nil {
				return 0, unavailable("register", err)
			}
		default:
			return 0, unavailable("register", err)
		}
	}
}

// firstFree finds the smallest id from low on that was not given out. All ids
// below low were. As ids are dense it doubles its steps until it meets a free id,
// and then searches the last step by halves.
func (r *Registry) firstFree(ctx context.Context, k kind, low int64) (int64, error) {
	high := low
	for step := int64(1); ; step *= 2 {
		taken, err := r.taken(ctx, entryID{k, high})
		if err != nil {
			return 0, err
		}
		if !taken {
			break
		}
		low, high = high+1, high+step
	}

	for low < high {
		middle := low + (high-low)/2
		taken, err := r.taken(ctx, entryID{k, middle})
		if err != nil {
			return 0, err
		}
		if taken {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

// taken reports whether an id was given out.
func (r *Registry) taken(ctx context.Context, id entryID) (bool, error) {
	_, err := r.kv.Get(ctx, id.key())
	if errors.Is(err, natsjs.ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, err
}

// lookup returns the record of an id. It asks the store for an id that this
// process does not remember, so it finds one that another process gave out a
// moment ago.
func (r *Registry) lookup(ctx context.Context, id entryID) (record, error) {
	if id.number < 0 {
		return record{}, id.notFound()
	}

	rec, ok := r.known.Get(id)
	if !ok {
		var err error
		rec, _, err = r.read(ctx, id)
		switch {
		case errors.Is(err, natsjs.ErrKeyNotFound):
			return record{}, id.notFound()
		case err != nil:
			return record{}, unavailable("look up an id", err)
		}
		if newer, found, _ := r.known.PeekOrAdd(id, rec); found {
			rec = newer // follow may have seen a deletion after the entry was read
		}
	}

	if rec.Deleted {
		return record{}, id.deleted(rec.Topic)
	}
	return rec, nil
}

// read reads an entry from the store.
func (r *Registry) read(ctx context.Context, id entryID) (rec record, revision uint64, err error) {
	entry, err := r.kv.Get(ctx, id.key())
	if err != nil {
		return record{}, 0, err
	}
	rec, err = decodeRecord(id, entry.Value())
	return rec, entry.Revision(), err
}

// remove marks an entry as deleted, for ever.
func (r *Registry) remove(ctx context.Context, id entryID) error {
	unknown := false // whether an earlier attempt has marked it
	_, err := jetstream.Repeat(ctx, func(ctx context.Context) (struct{}, error) {
		err := r.markDeleted(ctx, id, unknown)
		unknown = unknown || err != nil
		return struct{}{}, err
	})
	return err
}

// markDeleted is one attempt to mark an entry as deleted. If it is marked already, that is an error
// unless an earlier attempt may have done it.
func (r *Registry) markDeleted(ctx context.Context, id entryID, mayBe bool) error {
	for {
		rec, revision, err := r.read(ctx, id)
		switch {
		case errors.Is(err, natsjs.ErrKeyNotFound):
			return id.notFound()
		case err != nil:
			return unavailable("remove an id", err)
		case rec.Deleted:
			r.known.Add(id, rec)
			if mayBe {
				return nil
			}
			return id.notFound()
		}

		rec.Deleted = true
		value, err := json.Marshal(rec)
		if err != nil {
			return fmt.Errorf("encode a registration: %w", err)
		}
		_, err = r.kv.Update(ctx, id.key(), value, revision)
		switch {
		case err == nil:
			r.known.Add(id, rec)
			return nil
		case !conflict(err):
			return unavailable("remove an id", err)
		}
	}
}

// conflict reports whether err says that an entry exists already, or that it was
// changed since it was read.
func conflict(err error) bool {
	return errors.Is(err, natsjs.ErrKeyExists) || errors.Is(err, natsjs.ErrKeyRevisionMismatch)
}
