package jetstream

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Storage is where topics, positions and ids are kept.
type Storage = jetstream.StorageType

const (
	File   Storage = jetstream.FileStorage
	Memory Storage = jetstream.MemoryStorage
)

// MaxReplicas is the most servers that may hold a topic. It is the engine's
// limit.
const MaxReplicas = 5

// StoreOptions say how what is new is stored.
type StoreOptions struct {
	Storage  Storage
	Replicas int // servers that hold it, 1 to [MaxReplicas]
	// CallTimeout bounds each engine call that is made for several clients at once,
	// or for one who waits; 0 is 5s.
	CallTimeout time.Duration
	// Sync, if it is not nil, brings all that is stored to the disk. It is called
	// where one thing must be there before another is done; that what is answered
	// is there, whoever answers sees to.
	Sync func(context.Context) error
	// Alone says that no other process reaches the engine.
	Alone bool
	// Flush, if it is not nil, brings all that is stored to the disk even if Sync
	// need not. It is called before what that takes the place of is removed.
	Flush func(context.Context) error
	// RemoveDeletedFiles, if it is not nil, sees to it that a stream of that name, which is about
	// to be deleted, can go as a whole.
	RemoveDeletedFiles func(stream string) error
	// CheckSpace, if it is not nil, returns an error when there is none for so many
	// bytes of new data in that many messages.
	CheckSpace func(messages, bytes int) error
}

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
