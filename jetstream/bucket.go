package jetstream

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// writeTimeout bounds one write of an entry. Deletions of topics go on for minutes, and a write that a lost server
// has received is never answered.
const writeTimeout = 5 * time.Second

// A patientBucket reads again what gets no answer, as the leader of the bucket may have been lost. It writes
// once: whether a write without an answer took effect is unknown.
type patientBucket struct{ jetstream.KeyValue }

// openBucket opens a bucket that exists. Errors: [jetstream.ErrBucketNotFound].
func openBucket(ctx context.Context, js jetstream.JetStream, name string) (jetstream.KeyValue, error) {
	kv, err := Repeat(ctx, func(ctx context.Context) (jetstream.KeyValue, error) { return js.KeyValue(ctx, name) })
	if err != nil {
		return nil, err
	}
	return patientBucket{kv}, nil
}

// Get reads an entry.
func (b patientBucket) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	return Repeat(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) {
		return b.KeyValue.Get(ctx, key)
	})
}

// Create writes an entry that does not exist.
func (b patientBucket) Create(
	ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt,
) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return b.KeyValue.Create(ctx, key, value, opts...)
}

// Update replaces an entry that still has the revision last.
func (b patientBucket) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return b.KeyValue.Update(ctx, key, value, last)
}

// Purge removes an entry.
func (b patientBucket) Purge(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return b.KeyValue.Purge(ctx, key, opts...)
}
