package check

import (
	"cmp"
	"slices"
	"sort"

	"dq/cmd/dq/verify/history"
)

// sortDeliveries sorts the deliveries of c, and finds the index from which on c
// must get everything: that of the first message that was sent after c was created
// or, if that is less, of the first message that c got.
func (h *topicHistory) sortDeliveries(c *consumer) {
	slices.SortStableFunc(c.deliveries, func(a, b delivery) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.count, b.count), cmp.Compare(a.call, b.call))
	})

	c.start = len(h.log)
	for i, e := range h.log {
		if c.first || e.call > c.ret {
			c.start = i
			break
		}
	}
	if len(c.deliveries) > 0 {
		c.start = min(c.start, c.deliveries[0].index)
	}
}

// checkDeliveries checks what c got: nothing that is older than c, everything in
// order, nothing twice in mode auto, nothing left out, and "nothing is left" only
// when nothing was.
func (h *topicHistory) checkDeliveries(c *consumer) {
	if !c.first && len(c.deliveries) > 0 {
		if d := c.deliveries[0]; h.log[d.index].stored < c.call {
			h.violated(checkPhantom, proof{h.log[d.index].proof, c.created, d.op},
				"consumer %d got %s, which was stored before it was registered", c.id, h.log[d.index].data)
		}
	}

	firsts := make([]event, 0, len(c.deliveries)) // the first delivery of each message
	for i, d := range c.deliveries {
		again := i > 0 && c.deliveries[i-1].index == d.index
		if again && c.mode != "lease" {
			h.violated(checkDuplicate, proof{c.deliveries[i-1].op, d.op},
				"consumer %d got %s twice", c.id, h.log[d.index].data)
		}
		if !again && d.count <= 1 {
			firsts = append(firsts, d.event)
		}
	}
	h.count(checkDuplicate, len(c.deliveries))

	h.count(checkOrder, len(firsts))
	if a, b, found := findSwapped(firsts); found {
		h.violated(checkOrder, proof{a.op, b.op, h.replay},
			"consumer %d got %s after %s, and it is before that in the topic",
			c.id, h.log[a.index].data, h.log[b.index].data)
	}

	h.checkEmptyAnswers(c, firsts)
	if c.mode != "lease" {
		h.checkMissing(c)
	}
}

// checkEmptyAnswers checks that c was not told that nothing is left when there was
// a message that was never delivered: one that was stored before that call, and was
// delivered by a call that was made after it.
func (h *topicHistory) checkEmptyAnswers(c *consumer, firsts []event) {
	latest := slices.Clone(firsts) // of the deliveries up to each, the one that was called last
	for i := 1; i < len(latest); i++ {
		if latest[i-1].call > latest[i].call {
			latest[i] = latest[i-1]
		}
	}

	for _, e := range c.empty {
		h.count(checkStale, 1)
		stored := h.storedBefore(e.Call)
		n := sort.Search(len(firsts), func(i int) bool { return firsts[i].index >= stored })
		if n == 0 || latest[n-1].call <= e.Return {
			continue
		}
		later := latest[n-1]
		h.violated(checkStale, proof{h.log[stored-1].proof, h.log[later.index].proof, e, later.op},
			"consumer %d was told that there is nothing, and %s was there", c.id, h.log[later.index].data)
	}
}

// checkMissing checks that c, in mode auto, got every message but those that its
// calls of unknown outcome have taken: each of them at most Limit messages in a
// row. A stream takes none, since it continues after the last event that was read.
func (h *topicHistory) checkMissing(c *consumer) {
	missing := h.missing(c)
	h.count(checkLost, len(c.deliveries)+len(missing))

	var takers []*history.Op
	if c.mode != "stream" {
		takers = slices.Clone(c.unanswered)
	}
	slices.SortFunc(takers, func(a, b *history.Op) int { return cmp.Compare(a.Call, b.Call) })

	used, room, last := 0, 0, 0 // takers used, messages that the last one may still have taken, the last of those
	for _, m := range missing {
		if room > 0 && m.index == last+1 {
			room, last = room-1, m.index
			continue
		}
		if used == len(takers) || takers[used].Call > m.ret {
			h.violated(checkLost, proof{h.log[m.index].proof, c.created, h.streamBefore(c, m.op), m.op},
				"consumer %d never got %s (%d of its calls were not answered, and explain %d others)",
				c.id, h.log[m.index].data, len(c.unanswered), used)
			return
		}
		room, last = takers[used].Limit-1, m.index
		used++
	}
}

// streamBefore returns the connection of c before op, nil if op is no stream.
func (h *topicHistory) streamBefore(c *consumer, op *history.Op) (before *history.Op) {
	if op.Kind != history.OpStream {
		return nil
	}
	for _, other := range h.ops {
		if other.Kind == history.OpStream && other.ID == c.id && other.Return <= op.Call {
			before = other // the last one, since they come one after the other
		}
	}
	return before
}

// missing returns the messages that c should have got and did not, each with the
// earliest operation that shows that c had passed it: c got a later message, or was
// told that nothing is left.
func (h *topicHistory) missing(c *consumer) []event {
	got := make([]bool, len(h.log))
	passed := make([]event, len(h.log)) // earliest, for the message at each index
	for i := range passed {
		passed[i] = event{index: i, ret: history.Never}
	}
	for _, d := range c.deliveries {
		got[d.index] = true
		passed[d.index].setEarlier(d.op, d.ret)
	}
	for _, e := range c.empty {
		if stored := h.storedBefore(e.Call); stored > 0 {
			passed[stored-1].setEarlier(e, e.Return)
		}
	}

	// What passed a message has passed all before it.
	var missing []event
	for i := len(h.log) - 1; i >= c.start; i-- {
		if i+1 < len(h.log) {
			passed[i].setEarlier(passed[i+1].op, passed[i+1].ret)
		}
		if !got[i] && passed[i].ret != history.Never {
			missing = append(missing, passed[i])
		}
	}
	slices.Reverse(missing)
	return missing
}

// setEarlier replaces the operation of e with one that returned earlier.
func (e *event) setEarlier(op *history.Op, ret int64) {
	if ret < e.ret {
		e.op, e.ret = op, ret
	}
}
