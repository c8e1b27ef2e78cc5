package registry

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"dq/jetstream"
)

// stallTime is how long entries may be missing, without any other coming, before they are read
// from the bucket.
const stallTime = 500 * time.Millisecond

// index knows which ids each topic has, at some 70 bytes an id: the bucket itself
// can be asked only for one id, or for all.
type index struct {
	ended <-chan struct{} // closed when nothing is applied any more

	mu      sync.Mutex
	entries map[kind]map[string]map[int64]indexed // of all ids, by topic and id
	unnamed map[string][]int64                    // consumers whose name has no entry with their id, by its key
	applied uint64                                // the revision that was applied last
	changed chan struct{}                         // closed when applied changes; nil if nobody waits for that
}

// indexed is what the index knows of an id.
type indexed struct {
	start uint64
	lease time.Duration
	made  bool
}

// consumer returns the consumer with an id of topic, as far as the index knows it.
func (e indexed) consumer(topic string, id int64) jetstream.Consumer {
	return jetstream.Consumer{ID: id, Topic: topic, Start: e.start, Lease: e.lease, Made: e.made}
}

func newIndex(ended <-chan struct{}) *index {
	return &index{ended: ended, unnamed: make(map[string][]int64), entries: map[kind]map[string]map[int64]indexed{
		producer: make(map[string]map[int64]indexed),
		consumer: make(map[string]map[int64]indexed),
	}}
}

// applyName records that the entry of a name, at key, now has the id of a consumer.
func (x *index) applyName(key string, id int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.named(key, id)
}

// named records that a consumer has got its name, or needs it no more. The caller holds
// the lock.
func (x *index) named(key string, id int64) {
	left := slices.DeleteFunc(x.unnamed[key], func(other int64) bool { return other == id })
	if len(left) == 0 {
		delete(x.unnamed, key)
		return
	}
	x.unnamed[key] = left
}

// withoutName returns the first consumer that was registered under the name at key and
// whose id the name's entry never had.
func (x *index) withoutName(key string) (id int64, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if ids := x.unnamed[key]; len(ids) > 0 {
		return slices.Min(ids), true
	}
	return 0, false
}

// allWithoutName returns all consumers whose id the entry of their name never had.
func (x *index) allWithoutName() (ids []int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, some := range x.unnamed {
		ids = append(ids, some...)
	}
	return ids
}

// apply records that the entry of id is now rec.
func (x *index) apply(id entryID, rec record) {
	x.mu.Lock()
	defer x.mu.Unlock()

	topics := x.entries[id.kind]
	entries := topics[rec.Topic]
	entry := indexed{start: rec.Start, lease: rec.Lease, made: rec.Made}
	if _, known := entries[id.number]; rec.Name != "" && (rec.Deleted || !known) {
		key := nameKey(rec.Topic, rec.Name)
		x.named(key, id.number)
		if !rec.Deleted && !rec.Made { // one that was made has its name
			x.unnamed[key] = append(x.unnamed[key], id.number)
		}
	}
	switch {
	case !rec.Deleted && entries == nil:
		topics[rec.Topic] = map[int64]indexed{id.number: entry}
	case !rec.Deleted:
		entries[id.number] = entry
	case entries != nil:
		if delete(entries, id.number); len(entries) == 0 {
			delete(topics, rec.Topic)
		}
	}
}

// setApplied records that all entries up to revision were applied.
func (x *index) setApplied(revision uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.applied = max(x.applied, revision)
	if x.changed != nil {
		close(x.changed)
		x.changed = nil
	}
}

// revision returns the revision that was applied last.
func (x *index) revision() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.applied
}

// errStalled says that for a while no entry was applied.
var errStalled = errors.New("the watcher of the registry sends nothing")

// wait returns when all entries up to revision were applied. It returns errStalled if none
// is applied for stallTime.
func (x *index) wait(ctx context.Context, revision uint64) error {
	for {
		x.mu.Lock()
		reached := x.applied >= revision
		if x.changed == nil {
			x.changed = make(chan struct{})
		}
		changed := x.changed
		x.mu.Unlock()

		if reached {
			return nil
		}
		stalled := time.NewTimer(stallTime)
		select {
		case <-changed:
			stalled.Stop()
		case <-stalled.C:
			return errStalled
		case <-x.ended:
			return errors.New("the registry is closed")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// list returns the ids of a kind that topic has, in their order.
func (x *index) list(k kind, topic string) []int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Sorted(maps.Keys(x.entries[k][topic]))
}

// consumers returns every consumer with its id, topic and what indexed has.
func (x *index) consumers() (all []jetstream.Consumer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for topic, entries := range x.entries[consumer] {
		for id, e := range entries {
			all = append(all, e.consumer(topic, id))
		}
	}
	return all
}

// consumersOf returns the consumers of topic with their ids and what indexed has.
func (x *index) consumersOf(topic string) (all []jetstream.Consumer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, e := range x.entries[consumer][topic] {
		all = append(all, e.consumer(topic, id))
	}
	return all
}

// topics returns all topics that have ids.
func (x *index) topics() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := slices.Collect(maps.Keys(x.entries[consumer]))
	for topic := range x.entries[producer] {
		if x.entries[consumer][topic] == nil {
			all = append(all, topic)
		}
	}
	return all
}

// count returns how many ids of a kind topic has.
func (x *index) count(k kind, topic string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.entries[k][topic])
}

// countAll returns how many ids of a kind the topics have for which include is true.
func (x *index) countAll(k kind, include func(topic string) bool) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for topic, starts := range x.entries[k] {
		if include(topic) {
			n += len(starts)
		}
	}
	return n
}
