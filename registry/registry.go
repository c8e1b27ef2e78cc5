package registry

import (
	"context"
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
	js    natsjs.JetStream
	kv    natsjs.KeyValue
	known *lru.Cache[entryID, record]

	remembering sync.Mutex // held while known is changed

	names      *lru.Cache[string, int64] // ids of consumers by the keys of their names
	allocators map[kind]*allocator
	index      *index

	watcher natsjs.KeyWatcher
	ended   chan struct{} // closed when follow has returned
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

	before, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, unavailable("open the registry", err)
	}
	watcher, err := kv.WatchAll(context.WithoutCancel(ctx)) // it ends with its context
	if err != nil {
		return nil, unavailable("watch the registry", err)
	}

	ended := make(chan struct{})
	r := &Registry{
		js: js, kv: patientBucket{kv}, known: known, names: names,
		watcher: watcher, ended: ended, index: newIndex(ended),
		allocators: map[kind]*allocator{
			producer: {turn: semaphore.NewWeighted(1)},
			consumer: {turn: semaphore.NewWeighted(1)},
		},
	}
	go r.follow(before.CachedInfo().State.LastSeq)
	return r, nil
}

// Close stops following the bucket.
func (r *Registry) Close() {
	_ = r.watcher.Stop()
	<-r.ended
}

// follow reads all entries into the index, and then keeps the index and what is
// remembered in step with what any process stores. Entries up to revision were
// stored before the registry was opened.
func (r *Registry) follow(revision uint64) {
	defer close(r.ended)
	for entry := range r.watcher.Updates() {
		if entry == nil { // the watcher has sent all entries that existed
			r.index.setApplied(revision)
			continue
		}
		r.apply(entry, entry.Revision() > revision)
		r.index.setApplied(entry.Revision())
	}
}

// apply brings the index and what is remembered up to date with a stored entry.
func (r *Registry) apply(entry natsjs.KeyValueEntry, isNew bool) {
	if strings.HasPrefix(entry.Key(), namePrefix) {
		r.names.Remove(entry.Key()) // it is read again when it is asked for

		id, err := strconv.ParseInt(string(entry.Value()), 10, 64)
		if err == nil { // it has none when it was removed
			r.index.applyName(entry.Key(), id)
		}
		return
	}
	id, ok := parseKey(entry.Key())
	if !ok {
		return
	}
	rec, err := decodeRecord(id, entry.Value(), entry.Revision())
	if err != nil {
		r.known.Remove(id)
		return
	}
	r.index.apply(id, rec)

	// A new deletion is remembered even if nobody has asked for the entry yet: a
	// lookup that runs now may have read the entry as it was before.
	if old, ok := r.known.Peek(id); rec.Deleted && isNew || ok && !old.Deleted {
		r.remember(id, rec)
	}
}

// catchUp returns when the index has all that any process stored before the call.
func (r *Registry) catchUp(ctx context.Context) error {
	now, err := jetstream.Repeat(ctx, func(ctx context.Context) (natsjs.Stream, error) {
		return r.js.Stream(ctx, stream)
	})
	if err == nil {
		err = r.index.wait(ctx, now.CachedInfo().State.LastSeq)
	}
	if err != nil {
		return unavailable("list the registry", err)
	}
	return nil
}
