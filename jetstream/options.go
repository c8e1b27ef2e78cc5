package jetstream

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

// Storage says where the engine keeps a stream.
type Storage = jetstream.StorageType

// The two storages. What is in memory does not survive the engine's process.
const (
	File   Storage = jetstream.FileStorage
	Memory Storage = jetstream.MemoryStorage
)

// MaxReplicas is the most servers that may hold a topic. It is the engine's
// limit.
const MaxReplicas = 5

// StoreOptions configure how streams are stored. The functions are what only an engine
// in this process can do; they are nil if the engine is another process.
type StoreOptions struct {
	// Storage says where new topics, positions and delayed messages are stored.
	Storage Storage
	// Replicas is how many servers store each of them, 1 to [MaxReplicas].
	Replicas int
	// CallTimeout bounds an engine call that is made for several clients at once,
	// or for a client that waits for messages; 0 is 5s.
	CallTimeout time.Duration
	// Reads is the connection through which messages are read: the engine cuts off
	// a connection with too much under way, and publishing goes on then. It is nil
	// if one connection serves all.
	Reads *nats.Conn
	// Alone says that no other process reaches the engine. See DESIGN.md for what
	// depends on it.
	Alone bool
	// Sync flushes everything stored so far to disk. It is called between two
	// writes of which the second must not survive without the first; syncing before
	// an answer is the caller's job. It is nil if the configured durability does not
	// need it.
	Sync func(context.Context) error
	// Flush flushes everything stored so far to disk, whatever durability is
	// configured. It is called before old data is removed which new data replaces.
	Flush func(context.Context) error
	// RemoveDeletedFiles removes the files that an earlier deletion of the stream
	// has left. It is called before the stream is deleted again.
	RemoveDeletedFiles func(stream string) error
	// RoomToPurge makes room for the purge of a stream of so many bytes, of all of it or of a
	// part, or returns a [*StorageFullError].
	RoomToPurge func(bytes uint64, all bool) error
	// Damaged returns what is wrong with a stream that the engine does not serve because its
	// files are damaged, or nil. AllDamaged returns all such streams.
	Damaged    func(stream string) *engine.StreamDamage
	AllDamaged func() []*engine.StreamDamage
	// CheckSpace returns a [*StorageFullError] if the disk has no room for that
	// many bytes of data in that many messages.
	CheckSpace func(messages, bytes int) error
	// Logger gets what happens outside any call, or concerns others than its caller; nil
	// is nobody.
	Logger *slog.Logger
}

// RequiredStreams returns the streams of this package that hold no topic, and what is in them:
// without one of them nothing works.
func RequiredStreams() map[string]string {
	return map[string]string{
		"KV_" + cursorBucket: "the positions and leases of consumers",
		journalStream:        "the newest positions of consumers",
		delayStream:          "the delayed messages",
		"KV_" + purgeBucket:  "what was purged",
	}
}

// checkSpace checks that the disk has room for data or, without data, for a new topic.
func (o *StoreOptions) checkSpace(data ...Draft) error {
	if o.CheckSpace == nil {
		return nil
	}

	bytes := 0
	for i := range data {
		bytes += len(data[i].Data)
	}

	return o.CheckSpace(max(len(data), 1), bytes)
}

func (o *StoreOptions) flush(ctx context.Context) error {
	if o.Flush == nil {
		return nil
	}
	return o.Flush(ctx)
}

func (o *StoreOptions) sync(ctx context.Context) error {
	if o.Sync == nil {
		return nil
	}
	return o.Sync(ctx)
}
