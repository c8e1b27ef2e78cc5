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

	stop  context.CancelFunc // ends follow
	ended chan struct{}      // closed when follow has returned
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
		js: js, kv: patientBucket{kv}, known: known, names: names, ended: ended, index: newIndex(ended),
		allocators: map[kind]*allocator{
			producer: {turn: semaphore.NewWeighted(1)},
			consumer: {turn: semaphore.NewWeighted(1)},
		},
	}
	return r, r.startToFollow(ctx)
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
	// Each attempt asks for the last revision again: that of a write that failed never comes.
	_, err := jetstream.Repeat(ctx, func(ctx context.Context) (struct{}, error) {
		now, err := r.js.Stream(ctx, stream)
		if err == nil {
			err = r.index.wait(ctx, now.CachedInfo().State.LastSeq)
		}
		return struct{}{}, err
	})
	if err != nil {
		return unavailable("list the registry", err)
	}
	return nil
}
