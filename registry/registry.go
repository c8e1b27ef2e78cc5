package registry

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"dq/jetstream"
)

const (
	// bucket is the key-value bucket with an entry for each id and each name.
	bucket = "dq_registry"

	// stream is the stream that holds the bucket.
	stream = "KV_" + bucket

	// Stream is the stream that holds all registrations.
	Stream = stream

	// remembered is how many entries a process keeps in memory, at about 200 bytes
	// each. It reads the others when they are asked for.
	remembered = 64 << 10
)

// A Registry gives out ids. All methods are safe for concurrent use.
type Registry struct {
	js         natsjs.JetStream
	kv         natsjs.KeyValue
	known      *lru.Cache[entryID, record]
	names      *lru.Cache[string, int64] // ids of consumers by the keys of their names
	allocators map[kind]*allocator
	index      *index

	stop  context.CancelFunc // ends follow
	ended chan struct{}      // closed when follow has returned

	applying sync.Mutex          // held while an entry is applied
	reading  *semaphore.Weighted // held by the call that reads what the watcher does not send
}

// Open opens the registry that nc reaches, and creates it if it does not exist.
// Errors: [*jetstream.UnavailableError].
func Open(ctx context.Context, nc *nats.Conn, storage jetstream.Storage, replicas int) (*Registry, error) {
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, err
	}
	kv, err := jetstream.EnsureBucket(ctx, js, jetstream.Bucket{
		Name:        bucket,
		Description: "what each producer and consumer id was registered for",
		Storage:     storage,
		Replicas:    replicas,
	})
	if err != nil {
		return nil, unavailable("open the registry", err)
	}

	known, err := lru.New[entryID, record](remembered)
	if err != nil {
		return nil, err
	}
	names, err := lru.New[string, int64](remembered)
	if err != nil {
		return nil, err
	}

	ended := make(chan struct{})
	r := &Registry{
		js: js, kv: kv, known: known, names: names, ended: ended, index: newIndex(ended),
		reading: semaphore.NewWeighted(1),
		allocators: map[kind]*allocator{
			producer: {turn: semaphore.NewWeighted(1)},
			consumer: {turn: semaphore.NewWeighted(1)},
		},
	}
	return r, r.startToFollow(ctx)
}

// applyOnce applies the entry that was stored with a revision, unless it, or a later one, was applied before.
func (r *Registry) applyOnce(key string, value []byte, revision uint64, isNew bool) {
	r.applying.Lock()
	defer r.applying.Unlock()
	if revision > r.index.revision() {
		r.apply(key, value, isNew)
		r.index.setApplied(revision)
	}
}

// apply brings the index and what is remembered up to date with a stored entry.
func (r *Registry) apply(key string, value []byte, isNew bool) {
	if strings.HasPrefix(key, namePrefix) {
		r.names.Remove(key) // it is read again when it is asked for

		id, err := strconv.ParseInt(string(value), 10, 64)
		if err == nil { // it has none when it was removed
			r.index.applyName(key, id)
		}
		return
	}
	id, ok := parseKey(key)
	if !ok {
		return
	}
	rec, err := decodeRecord(id, value)
	if err != nil {
		r.known.Remove(id)
		return
	}
	r.index.apply(id, rec)

	// A new deletion is remembered even if nobody has asked for the entry yet: a
	// lookup that runs now may have read the entry as it was before.
	if old, ok := r.known.Peek(id); rec.Deleted && isNew || ok && !old.Deleted {
		r.known.Add(id, rec)
	}
}

// catchUp returns when the index has all that any process stored before the call.
func (r *Registry) catchUp(ctx context.Context) error {
	// Each attempt asks for the last revision again: that of a write that failed never comes.
	_, err := jetstream.Repeat(ctx, func(ctx context.Context) (struct{}, error) {
		now, err := r.js.Stream(ctx, stream)
		if err == nil {
			last := now.CachedInfo().State.LastSeq
			if err = r.index.wait(ctx, last); errors.Is(err, errStalled) {
				err = r.readUpTo(ctx, now, last)
			}
		}
		return struct{}{}, err
	})
	if err != nil {
		return unavailable("list the registry", err)
	}
	return nil
}

// readUpTo reads and applies the entries up to a revision that were not applied yet. The watcher is served
// by one server of a cluster, and takes many seconds to notice that this one is gone.
func (r *Registry) readUpTo(ctx context.Context, entries natsjs.Stream, last uint64) error {
	if err := r.reading.Acquire(ctx, 1); err != nil {
		return err
	}
	defer r.reading.Release(1)

	for next := r.index.revision() + 1; next <= last; next = r.index.revision() + 1 {
		m, err := jetstream.Repeat(ctx, func(ctx context.Context) (*natsjs.RawStreamMsg, error) {
			return entries.GetMsg(ctx, next, natsjs.WithGetMsgSubject(">"))
		})
		if errors.Is(err, natsjs.ErrMsgNotFound) { // there are no later ones
			return nil
		}
		if err != nil {
			return err
		}
		r.applyOnce(strings.TrimPrefix(m.Subject, "$KV."+bucket+"."), m.Data, m.Sequence, true)
	}
	return nil
}
