package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
)

// bucket is the key-value bucket with an entry for each registration, such as
// "consumer.0".
const bucket = "dq_registry"

// remembered is how many registrations a process keeps in memory, at about 200
// bytes each; the others are read when they are asked for.
const remembered = 64 << 10

// Kind is what an id stands for. Each kind has a sequence of ids of its own.
type Kind string

const (
	Producer Kind = "producer"
	Consumer Kind = "consumer"
)

// Title is the kind as a word at the start of a sentence.
func (k Kind) Title() string {
	if k == Producer {
		return "Producer"
	}
	return "Consumer"
}

// A Registration is what an id was given for.
type Registration struct {
	Topic string `json:"topic"`
	// Start is, for a consumer, the topic's last sequence when it registered.
	Start uint64 `json:"start,omitempty"`
}

// A Registry gives out ids. All methods are safe for concurrent use.
type Registry struct {
	kv    jetstream.KeyValue
	known *lru.Cache[string, Registration]
	next  map[Kind]*allocator
}

// allocator is the turn to give out an id of one kind.
type allocator struct {
	turn *semaphore.Weighted
	next int64 // every id below it is known to be taken
}

// Open opens the registry that nc reaches, and makes it if it is not there.
func Open(ctx context.Context, nc *nats.Conn, storage jetstream.StorageType) (*Registry, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      bucket,
		Description: "what each producer and consumer id was registered for",
		Storage:     storage,
	})
	if err != nil {
		return nil, &UnavailableError{"open the registry", err}
	}
	known, err := lru.New[string, Registration](remembered)
	if err != nil {
		return nil, err
	}
	return &Registry{kv: kv, known: known, next: map[Kind]*allocator{
		Producer: {turn: semaphore.NewWeighted(1)},
		Consumer: {turn: semaphore.NewWeighted(1)},
	}}, nil
}

// Register stores reg under a new id and returns the id: the smallest that was
// not given yet. It is stored when Register returns.
// Errors: [*UnavailableError].
func (r *Registry) Register(ctx context.Context, kind Kind, reg Registration) (int64, error) {
	value, err := json.Marshal(reg)
	if err != nil {
		return 0, fmt.Errorf("encode a registration: %w", err)
	}
	a := r.next[kind]
	if err := a.turn.Acquire(ctx, 1); err != nil {
		return 0, &UnavailableError{"register", err}
	}
	defer a.turn.Release(1)
	for {
		key := entryKey(kind, a.next)
		_, err := r.kv.Create(ctx, key, value)
		switch {
		case err == nil:
			r.known.Add(key, reg)
			a.next++
			return a.next - 1, nil
		case errors.Is(err, jetstream.ErrKeyExists):
			if a.next, err = r.firstFree(ctx, kind, a.next+1); err != nil {
				return 0, &UnavailableError{"register", err}
			}
		default:
			return 0, &UnavailableError{"register", err}
		}
	}
}

// firstFree finds the smallest id from low on that is not given. All ids below
// low are. Because ids are dense it can gallop, then halve.
func (r *Registry) firstFree(ctx context.Context, kind Kind, low int64) (int64, error) {
	high := low
	for step := int64(1); ; step *= 2 {
		taken, err := r.taken(ctx, kind, high)
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
		taken, err := r.taken(ctx, kind, middle)
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

func (r *Registry) taken(ctx context.Context, kind Kind, id int64) (bool, error) {
	_, err := r.kv.Get(ctx, entryKey(kind, id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Lookup returns what id was registered for. It asks the store for an id that
// this process does not know yet, so one that was given out a moment ago by
// another process is found. Errors: [*NotFoundError], [*UnavailableError].
func (r *Registry) Lookup(ctx context.Context, kind Kind, id int64) (Registration, error) {
	if id < 0 {
		return Registration{}, &NotFoundError{Kind: kind, ID: strconv.FormatInt(id, 10)}
	}
	key := entryKey(kind, id)
	if reg, ok := r.known.Get(key); ok {
		return reg, nil
	}
	entry, err := r.kv.Get(ctx, key)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return Registration{}, &NotFoundError{Kind: kind, ID: strconv.FormatInt(id, 10)}
	case err != nil:
		return Registration{}, &UnavailableError{"look up an id", err}
	}
	var reg Registration
	if err := json.Unmarshal(entry.Value(), &reg); err != nil {
		return Registration{}, &UnavailableError{"look up an id", fmt.Errorf("entry %s: %w", key, err)}
	}
	r.known.Add(key, reg)
	return reg, nil
}

func entryKey(kind Kind, id int64) string { return string(kind) + "." + strconv.FormatInt(id, 10) }
