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

// index knows which ids each topic has, at some 50 bytes an id: the bucket itself
// can be asked only for one id, or for all.
type index struct {
	ended <-chan struct{} // closed when nothing is applied any more

	mu      sync.Mutex
	starts  map[kind]map[string]map[int64]uint64 // the starts of all ids, by topic and id
	unnamed map[string][]int64                   // consumers whose name has no entry with their id, by its key
	applied uint64                               // the revision that was applied last
	changed chan struct{}                        // closed when applied changes; nil if nobody waits for that
}

func newIndex(ended <-chan struct{}) *index {
	return &index{ended: ended, unnamed: make(map[string][]int64), starts: map[kind]map[string]map[int64]uint64{
		producer: make(map[string]map[int64]uint64),
		consumer: make(map[string]map[int64]uint64),
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

	if rec.Name != "" {
		key := nameKey(rec.Topic, rec.Name)
		x.named(key, id.number)
		if !rec.Deleted {
			x.unnamed[key] = append(x.unnamed[key], id.number)
		}
	}

	topics := x.starts[id.kind]
	starts := topics[rec.Topic]
	switch {
	case !rec.Deleted && starts == nil:
		topics[rec.Topic] = map[int64]uint64{id.number: rec.Start}
	case !rec.Deleted:
		starts[id.number] = rec.Start
	case starts != nil:
		if delete(starts, id.number); len(starts) == 0 {
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
	return slices.Sorted(maps.Keys(x.starts[k][topic]))
}

// consumers returns every consumer with its id, topic and start.
func (x *index) consumers() (all []jetstream.Consumer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for topic, starts := range x.starts[consumer] {
		for id, start := range starts {
			all = append(all, jetstream.Consumer{ID: id, Topic: topic, Start: start})
		}
	}
	return all
}

// consumersOf returns the consumers of topic with their ids and starts.
func (x *index) consumersOf(topic string) (all []jetstream.Consumer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, start := range x.starts[consumer][topic] {
		all = append(all, jetstream.Consumer{ID: id, Topic: topic, Start: start})
	}
	return all
}

// topics returns all topics that have ids.
func (x *index) topics() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := slices.Collect(maps.Keys(x.starts[consumer]))
	for topic := range x.starts[producer] {
		if x.starts[consumer][topic] == nil {
			all = append(all, topic)
		}
	}
	return all
}

// count returns how many ids of a kind topic has.
func (x *index) count(k kind, topic string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.starts[k][topic])
}

// countAll returns how many ids of a kind the topics have for which include is true.
func (x *index) countAll(k kind, include func(topic string) bool) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for topic, starts := range x.starts[k] {
		if include(topic) {
			n += len(starts)
		}
	}
	return n
}
