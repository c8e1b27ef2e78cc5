package registry

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
)

// bucket is the key-value bucket with an entry for each registration, such as
// "consumer.0".
const bucket = "dq_registry"

// stream is the stream that the bucket is.
const stream = "KV_" + bucket

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
	// Start is, for a consumer, the sequence before its first message.
	Start uint64 `json:"start,omitempty"`
	// Born is, for a consumer, when its topic was created, in nanoseconds of Unix
	// time: another topic may have that name later.
	Born int64 `json:"born,omitempty"`
	// The other fields are those of jetstream.Consumer. Classic registrations
	// have none of them.
	Name            string        `json:"name,omitempty"`
	Key             string        `json:"key,omitempty"`
	Lease           time.Duration `json:"lease,omitempty"`
	MaxInFlight     int           `json:"max_in_flight,omitempty"`
	MaxDeliveries   int           `json:"max_deliveries,omitempty"`
	DeadLetterTopic string        `json:"dead_letter_topic,omitempty"`

	// Gone is set when the consumer or the topic was deleted. The entry stays,
	// as its id is never given again.
	Gone bool `json:"gone,omitempty"`
}

// An Entry is a registration with its id.
type Entry struct {
	ID int64
	Registration
}

// A Registry gives out ids. All methods are safe for concurrent use.
type Registry struct {
	js    jetstream.JetStream
	kv    jetstream.KeyValue
	known *lru.Cache[string, Registration]
	names *lru.Cache[string, int64] // ids by the keys of their names
	next  map[Kind]*allocator
	index *index

	watcher jetstream.KeyWatcher
	ended   chan struct{}
}

// allocator is the turn to give out an id of one kind.
type allocator struct {
	turn *semaphore.Weighted
	next int64 // every id below it is known to be taken
}

// Open opens the registry that nc reaches, and makes it if it is not there.
func Open(ctx context.Context, nc *nats.Conn, storage jetstream.StorageType, replicas int) (*Registry, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket:      bucket,
		Description: "what each producer and consumer id was registered for",
		Storage:     storage,
		Replicas:    replicas,
	})
	if err != nil {
		return nil, &UnavailableError{"open the registry", err}
	}
	known, err := lru.New[string, Registration](remembered)
	if err != nil {
		return nil, err
	}
	names, err := lru.New[string, int64](remembered)
	if err != nil {
		return nil, err
	}
	now, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, &UnavailableError{"open the registry", err}
	}
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return nil, &UnavailableError{"watch the registry", err}
	}
	ended := make(chan struct{})
	r := &Registry{
		js: js, kv: kv, known: known, names: names, watcher: watcher, ended: ended, index: newIndex(ended),
		next: map[Kind]*allocator{
			Producer: {turn: semaphore.NewWeighted(1)},
			Consumer: {turn: semaphore.NewWeighted(1)},
		},
	}
	go r.follow(now.CachedInfo().State.LastSeq)
	return r, nil
}

// follow reads all entries, and then keeps what is remembered in step with what
// any process stores. Up to revision they are old.
func (r *Registry) follow(revision uint64) {
	defer close(r.ended)
	for entry := range r.watcher.Updates() {
		if entry == nil { // that was all
			r.index.noted(revision)
			continue
		}
		r.note(entry, entry.Revision() > revision)
		r.index.noted(entry.Revision())
	}
}

func (r *Registry) note(entry jetstream.KeyValueEntry, isNew bool) {
	if strings.HasPrefix(entry.Key(), namePrefix) {
		r.names.Remove(entry.Key()) // it is read again when it is asked for
		return
	}
	var reg Registration
	if err := json.Unmarshal(entry.Value(), &reg); err != nil {
		r.known.Remove(entry.Key())
		return
	}
	r.index.note(entry.Key(), reg)
	// What went just now is remembered even if nobody asked for it yet: one who
	// reads it may have read how it was.
	if old, ok := r.known.Peek(entry.Key()); reg.Gone && isNew || ok && !old.Gone {
		r.known.Add(entry.Key(), reg)
	}
}

// Close ends the use of the registry.
func (r *Registry) Close() {
	_ = r.watcher.Stop()
	<-r.ended
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
	reg, ok := r.known.Get(key)
	if !ok {
		var err error
		if reg, _, err = r.read(ctx, key); errors.Is(err, jetstream.ErrKeyNotFound) {
			return Registration{}, &NotFoundError{Kind: kind, ID: strconv.FormatInt(id, 10)}
		} else if err != nil {
			return Registration{}, &UnavailableError{"look up an id", err}
		}
		if newer, found, _ := r.known.PeekOrAdd(key, reg); found {
			reg = newer
		}
	}
	if reg.Gone {
		return Registration{}, &NotFoundError{Kind: kind, ID: strconv.FormatInt(id, 10), Gone: true, Topic: reg.Topic}
	}
	return reg, nil
}

// read reads an entry from the store.
func (r *Registry) read(ctx context.Context, key string) (reg Registration, revision uint64, err error) {
	entry, err := r.kv.Get(ctx, key)
	if err != nil {
		return Registration{}, 0, err
	}
	if err := json.Unmarshal(entry.Value(), &reg); err != nil {
		return Registration{}, 0, fmt.Errorf("entry %s: %w", key, err)
	}
	return reg, entry.Revision(), nil
}

// conflict reports whether err says that an entry was there already, or was
// changed meanwhile.
func conflict(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// List returns what is registered for topic, in the order of the ids.
// Errors: [*UnavailableError].
func (r *Registry) List(ctx context.Context, kind Kind, topic string) ([]Entry, error) {
	if err := r.catchUp(ctx); err != nil {
		return nil, err
	}
	var entries []Entry
	for _, id := range r.index.of(kind, topic) {
		reg, err := r.Lookup(ctx, kind, id)
		var gone *NotFoundError
		switch {
		case err == nil:
			entries = append(entries, Entry{id, reg})
		case !errors.As(err, &gone):
			return nil, err
		}
	}
	return entries, nil
}

// Count returns how many consumers and producers are registered for topic.
// Errors: [*UnavailableError].
func (r *Registry) Count(ctx context.Context, topic string) (consumers, producers int, err error) {
	if err := r.catchUp(ctx); err != nil {
		return 0, 0, err
	}
	return r.index.count(Consumer, topic), r.index.count(Producer, topic), nil
}

// CountAll returns how much of a kind is registered for the topics for which of
// is true. Errors: [*UnavailableError].
func (r *Registry) CountAll(ctx context.Context, kind Kind, of func(topic string) bool) (int, error) {
	if err := r.catchUp(ctx); err != nil {
		return 0, err
	}
	return r.index.countAll(kind, of), nil
}

// EachConsumer calls f with every consumer that is registered, and the sequence
// before its first message. Errors: [*UnavailableError].
func (r *Registry) EachConsumer(ctx context.Context, f func(topic string, id int64, start uint64)) error {
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	r.index.each(Consumer, f)
	return nil
}

// catchUp returns when the index has all that was stored before, by any process.
func (r *Registry) catchUp(ctx context.Context) error {
	stream, err := r.js.Stream(ctx, stream)
	if err == nil {
		err = r.index.await(ctx, stream.CachedInfo().State.LastSeq)
	}
	if err != nil {
		return &UnavailableError{"list the registry", err}
	}
	return nil
}

// Remove makes id one that does not exist, for ever. Errors: [*NotFoundError],
// [*UnavailableError].
func (r *Registry) Remove(ctx context.Context, kind Kind, id int64) error {
	key := entryKey(kind, id)
	for {
		reg, revision, err := r.read(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) || err == nil && reg.Gone {
			return &NotFoundError{Kind: kind, ID: strconv.FormatInt(id, 10)}
		}
		if err != nil {
			return &UnavailableError{"remove an id", err}
		}
		if reg.Name != "" {
			if err := r.removeName(ctx, reg.Topic, reg.Name, id); err != nil {
				return err
			}
		}
		reg.Gone = true
		value, err := json.Marshal(reg)
		if err != nil {
			return fmt.Errorf("encode a registration: %w", err)
		}
		_, err = r.kv.Update(ctx, key, value, revision)
		switch {
		case err == nil:
			r.known.Add(key, reg)
			return nil
		case !conflict(err):
			return &UnavailableError{"remove an id", err}
		}
	}
}

// encode makes a word that may stand in a key of any text.
func encode(text string) string {
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(text))
}

func entryKey(kind Kind, id int64) string { return string(kind) + "." + strconv.FormatInt(id, 10) }
