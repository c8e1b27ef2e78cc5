package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"dq/jetstream/engine"
)

const (
	// purgeBucket is the key-value bucket with an entry for each topic that was purged, under its encoded name: a
	// purgeRecord in JSON. It is created with the first purge.
	purgeBucket = "dq_purges"

	// keptPurges is how many purges a record lists. Purges without messages between them are joined to one.
	keptPurges = 256
)

// A purgeRecord says which messages of a topic clients have purged. The engine says only that a message is missing; the
// record tells whether a client or a limit removed it.
type purgeRecord struct {
	Created int64   `json:"created"` // when the topic was created, in nanoseconds of Unix time
	Purges  []purge `json:"purges"`  // in the order of their sequences

	revision uint64 // of the entry; 0 if there is none
}

// A purge removes all messages up to a sequence. It is recorded before it is made. If the process ends in between, and
// nobody purges the topic again before limits have removed these messages, they count as purged.
type purge struct {
	First    uint64 `json:"f"` // the first sequence that had a message
	Last     uint64 `json:"l"`
	Messages uint64 `json:"n"` // how many of them were there
}

// between returns how many messages with sequences from after+1 to upTo were purged. All messages in that range must be
// gone.
func (r *purgeRecord) between(after, upTo uint64) (n uint64) {
	for _, p := range r.Purges {
		switch {
		case p.Last > upTo: // it was not made: a message follows upTo
		case p.Last <= after:
		case p.First > after:
			n += p.Messages
		default:
			n += min(p.Messages, p.Last-after)
		}
	}
	return n
}

// add adds a purge that is going to be made.
func (r *purgeRecord) add(p purge) {
	// The first message of p exists, so a recorded purge that includes it was never made: forget it.
	for len(r.Purges) > 0 && r.Purges[len(r.Purges)-1].Last >= p.First {
		r.Purges = r.Purges[:len(r.Purges)-1]
	}

	// All purges that are left were made, so they can be joined.
	if n := len(r.Purges); n > 1 && r.Purges[n-2].Last+1 == r.Purges[n-1].First {
		r.join(n - 2)
	}
	if len(r.Purges) >= keptPurges {
		r.join(0)
	}
	r.Purges = append(r.Purges, p)
}

// correct records that the purge up to last has removed fewer messages than were there when it was recorded.
func (r *purgeRecord) correct(last, fewer uint64) {
	for i := range r.Purges {
		if p := &r.Purges[i]; p.Last == last {
			p.Messages -= min(fewer, p.Messages)
		}
	}
}

// join replaces the purges i and i+1 by one.
func (r *purgeRecord) join(i int) {
	a, b := r.Purges[i], r.Purges[i+1]
	r.Purges[i] = purge{First: a.First, Last: b.Last, Messages: a.Messages + b.Messages}
	r.Purges = append(r.Purges[:i+1], r.Purges[i+2:]...)
}

// recordPurge changes the record of the topic that was created at that time. It may call change several times.
// Errors: [*UnavailableError].
func (t *Topics) recordPurge(ctx context.Context, topic string, created time.Time, change func(*purgeRecord)) error {
	// A stream to which a write has failed does not answer writes until the engine is restarted.
	ctx, cancel := context.WithTimeout(ctx, t.opts.CallTimeout)
	defer cancel()

	kv, err := EnsureBucket(ctx, t.js, Bucket{
		Name:        purgeBucket,
		Description: "which messages clients have purged",
		Storage:     t.opts.Storage,
		Replicas:    t.opts.Replicas,
	})
	if err != nil {
		return engine.Unavailable("record the purge", err)
	}

	for {
		record, err := readPurges(ctx, kv, topic, created.UnixNano())
		if err != nil {
			return err
		}
		change(&record)
		value, err := json.Marshal(record)
		if err != nil {
			return engine.Unavailable("record the purge", err)
		}

		// With the revision 0, Update creates the entry.
		_, err = kv.Update(ctx, EncodeName(topic), value, record.revision)
		var api *jetstream.APIError
		switch {
		case errors.As(err, &api) && (api.ErrorCode == codeWrongLastSequence || api.ErrorCode == codeWrongLastSeqR3):
			continue // another purge was recorded meanwhile
		case err != nil:
			return engine.Unavailable("record the purge", err)
		}
		return nil
	}
}

// purgesOf returns what was purged of the topic that was created at that time. If created is 0, the time does not
// matter.
// Errors: [*UnavailableError].
func (t *Topics) purgesOf(ctx context.Context, topic string, created int64) (purgeRecord, error) {
	kv, err := openBucket(ctx, t.js, purgeBucket)
	switch {
	case errors.Is(err, jetstream.ErrBucketNotFound):
		return purgeRecord{Created: created}, nil // nothing was ever purged
	case err != nil:
		return purgeRecord{}, engine.Unavailable("read what was purged", err)
	}
	return readPurges(ctx, kv, topic, created)
}

// readPurges reads the entry of topic.
func readPurges(ctx context.Context, kv jetstream.KeyValue, topic string, created int64) (purgeRecord, error) {
	none := purgeRecord{Created: created}
	entry, err := kv.Get(ctx, EncodeName(topic))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return none, nil
	case err != nil:
		return none, engine.Unavailable("read what was purged", err)
	}

	none.revision = entry.Revision()
	record := none
	if err := json.Unmarshal(entry.Value(), &record); err != nil {
		return none, engine.Unavailable("read what was purged", err)
	}
	if created != 0 && record.Created != created { // of an earlier topic of that name
		return none, nil
	}
	return record, nil
}

// forgetPurges removes the record of a topic that was deleted. If that fails, the record stays until a later topic of
// that name is purged.
func (t *Topics) forgetPurges(ctx context.Context, topic string) {
	ctx, cancel := context.WithTimeout(ctx, t.opts.CallTimeout) // as in recordPurge
	defer cancel()

	kv, err := openBucket(ctx, t.js, purgeBucket)
	if err != nil {
		return
	}
	if _, err := kv.Get(ctx, EncodeName(topic)); err == nil {
		_ = kv.Purge(ctx, EncodeName(topic))
	}
}
