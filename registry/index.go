package registry

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// An index knows which ids are registered for each topic, at some 50 bytes an id:
// the bucket itself can only be asked for one id, or for all.
type index struct {
	ended <-chan struct{} // closed when nothing is noted any more

	mu    sync.Mutex
	ids   map[Kind]map[string]map[int64]uint64 // by topic, with their starts
	upTo  uint64                               // the revision that was noted last
	moved chan struct{}                        // closed when that has changed; nil if nobody waits for it
}

func newIndex(ended <-chan struct{}) *index {
	return &index{ended: ended, ids: map[Kind]map[string]map[int64]uint64{
		Producer: make(map[string]map[int64]uint64),
		Consumer: make(map[string]map[int64]uint64),
	}}
}

// note takes down that the entry of key is reg.
func (x *index) note(key string, reg Registration) {
	word, number, _ := strings.Cut(key, ".")
	id, err := strconv.ParseInt(number, 10, 64)
	topics, ok := x.ids[Kind(word)]
	if err != nil || !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	ids := topics[reg.Topic]
	switch {
	case !reg.Gone && ids == nil:
		topics[reg.Topic] = map[int64]uint64{id: reg.Start}
	case !reg.Gone:
		ids[id] = reg.Start
	case ids != nil:
		if delete(ids, id); len(ids) == 0 {
			delete(topics, reg.Topic)
		}
	}
}

// noted says that all up to revision was noted.
func (x *index) noted(revision uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.upTo = max(x.upTo, revision)
	if x.moved != nil {
		close(x.moved)
		x.moved = nil
	}
}

// await returns when all up to revision was noted.
func (x *index) await(ctx context.Context, revision uint64) error {
	for {
		x.mu.Lock()
		done := x.upTo >= revision
		if x.moved == nil {
			x.moved = make(chan struct{})
		}
		moved := x.moved
		x.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-moved:
		case <-x.ended:
			return errors.New("the registry is closed")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// of is the ids that are registered for topic, in their order.
func (x *index) of(kind Kind, topic string) []int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Sorted(maps.Keys(x.ids[kind][topic]))
}

// each calls f with every id of a kind.
func (x *index) each(kind Kind, f func(topic string, id int64, start uint64)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for topic, ids := range x.ids[kind] {
		for id, start := range ids {
			f(topic, id, start)
		}
	}
}

func (x *index) count(kind Kind, topic string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.ids[kind][topic])
}

// countAll is how many ids are registered for the topics for which of is true.
func (x *index) countAll(kind Kind, of func(topic string) bool) (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for topic, ids := range x.ids[kind] {
		if of(topic) {
			n += len(ids)
		}
	}
	return n
}
