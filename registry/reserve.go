package registry

import (
	"context"
	"encoding/json"
	"errors"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Reserve makes sure that no id is given out again whose entry is lost. Call it after entries
// were lost, and say how many at most: as ids are dense, those without an entry were lost, and
// behind the last one there may have been as many more. Their holders are told that they were
// deleted. Errors: [*jetstream.UnavailableError].
func (r *Registry) Reserve(ctx context.Context, lost uint64) error {
	keys, err := r.kv.ListKeys(ctx)
	if err != nil {
		return unavailable("list the registry", err)
	}
	taken := make(map[entryID]bool)
	next := map[kind]int64{producer: 0, consumer: 0}
	for key := range keys.Keys() {
		if id, ok := parseKey(key); ok {
			taken[id] = true
			next[id.kind] = max(next[id.kind], id.number+1)
		}
	}

	gone, err := json.Marshal(record{Deleted: true})
	if err != nil {
		return err
	}
	for k, end := range next {
		for n := range end + int64(lost) {
			id := entryID{k, n}
			if taken[id] {
				continue
			}
			if _, err := r.kv.Create(ctx, id.key(), gone); err != nil && !errors.Is(err, natsjs.ErrKeyExists) {
				return unavailable("reserve the ids of lost registrations", err)
			}
		}
	}
	return nil
}
