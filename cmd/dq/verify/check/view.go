package check

import (
	"cmp"
	"slices"
	"sort"

	"dq/cmd/dq/verify/history"
)

// begin finds the place from which on c surely gets everything: that of the
// first message that was sent when c was there, or that c got, whichever is
// earlier.
func (h *topicHistory) begin(c *consumer) {
	slices.SortStableFunc(c.takes, func(a, b take) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.n, b.n), cmp.Compare(a.call, b.call))
	})
	c.start = slices.IndexFunc(h.log, func(e entry) bool { return c.first || e.call > c.ret })
	if c.start < 0 {
		c.start = len(h.log)
	}
	if len(c.takes) > 0 {
		c.start = min(c.start, c.takes[0].place)
	}
}

// checkView checks what c got: nothing from before it was there, all in order,
// nothing twice unless it has leases, nothing left out, and "nothing" only when
// there was nothing.
func (h *topicHistory) checkView(c *consumer) {
	if !c.first && len(c.takes) > 0 {
		if t := c.takes[0]; h.log[t.place].stable < c.call {
			h.violated(checkPhantom, []*history.Op{h.log[t.place].proof, c.made, t.op}, "consumer %d got %s, which was stored before it was registered", c.id, h.log[t.place].data)
		}
	}
	firsts := make([]take, 0, len(c.takes)) // the first time that each message was handed out
	for i, t := range c.takes {
		again := i > 0 && c.takes[i-1].place == t.place
		if again && c.mode != "lease" {
			h.violated(checkDuplicate, []*history.Op{c.takes[i-1].op, t.op}, "consumer %d got %s twice", c.id, h.log[t.place].data)
		}
		if !again && t.n <= 1 {
			firsts = append(firsts, t)
		}
	}
	h.count(checkDuplicate, len(c.takes))
	h.count(checkOrder, len(firsts))
	if a, b := swapped(firsts); a != nil {
		h.violated(checkOrder, []*history.Op{a.op, b.op, h.replay}, "consumer %d got %s after %s, and it is before that in the topic", c.id, h.log[a.place].data, h.log[b.place].data)
	}
	h.checkStale(c, firsts)
	if c.mode != "lease" {
		h.checkSwallowed(c)
	}
}

// checkStale checks that c was not told "nothing" when there was something that
// was never handed out: a message that was stored before that call, and was
// handed out by a call that was made after it.
func (h *topicHistory) checkStale(c *consumer, firsts []take) {
	latest := make([]take, len(firsts)) // of the takes up to each, the one that was called last
	for i, t := range firsts {
		if latest[i] = t; i > 0 && latest[i-1].call > t.call {
			latest[i] = latest[i-1]
		}
	}
	for _, e := range c.empty {
		h.count(checkStale, 1)
		stable := h.stableBefore(e.Call)
		n := sort.Search(len(firsts), func(i int) bool { return firsts[i].place > stable })
		if n > 0 && latest[n-1].call > e.Return {
			t := latest[n-1]
			h.violated(checkStale, []*history.Op{h.log[stable].proof, h.log[t.place].proof, e, t.op},
				"consumer %d was told that there is nothing, and %s was there", c.id, h.log[t.place].data)
		}
	}
}

// stableBefore is the last place whose message was surely stored at that time,
// -1 if there is none. All before it were stored then, too.
func (h *topicHistory) stableBefore(time int64) int {
	for i := len(h.log) - 1; i >= 0; i-- {
		if h.log[i].stable < time {
			return i
		}
	}
	return -1
}

// checkSwallowed checks that c got every message, but for those that calls of
// unknown outcome have taken: at most Limit each, one behind the other. A stream
// goes on where it was, so that its calls take none.
func (h *topicHistory) checkSwallowed(c *consumer) {
	missing, deadline := h.missing(c)
	h.count(checkLost, len(c.takes)+len(missing))
	swallowers := slices.Clone(c.lost)
	if c.mode == "stream" {
		swallowers = nil
	}
	slices.SortFunc(swallowers, func(a, b *history.Op) int { return cmp.Compare(a.Call, b.Call) })
	used, room, last := 0, 0, -2
	for _, place := range missing {
		if room > 0 && place == last+1 {
			room, last = room-1, place
			continue
		}
		by := deadline[place]
		if used == len(swallowers) || swallowers[used].Call > by.ret {
			h.violated(checkLost, []*history.Op{h.log[place].proof, c.made, h.before(c, by.op), by.op}, "consumer %d never got %s (%d of its calls were not answered, and explain %d others)",
				c.id, h.log[place].data, len(c.lost), used)
			return
		}
		room, last = swallowers[used].Limit-1, place
		used++
	}
}

// before is the stream connection of c before op, nil if op is none.
func (h *topicHistory) before(c *consumer, op *history.Op) (before *history.Op) {
	for _, other := range h.ops {
		if op.Kind == history.OpStream && other.Kind == history.OpStream && other.ID == c.id && other.Return <= op.Call {
			before = other // the last one, as they come one after the other
		}
	}
	return before
}

// missing is the places of the messages that c should have got and did not, and
// for each the first proof that it was taken: a later message, or the answer that
// there is nothing more.
func (h *topicHistory) missing(c *consumer) (places []int, taken map[int]take) {
	proofs := make([]take, len(h.log)+1)
	for i := range proofs {
		proofs[i] = take{ret: history.Never}
	}
	got := make([]bool, len(h.log))
	prove := func(place int, t take) {
		if t.ret < proofs[place].ret {
			proofs[place] = t
		}
	}
	for _, t := range c.takes {
		got[t.place] = true
		prove(t.place, t)
	}
	for _, e := range c.empty {
		if stable := h.stableBefore(e.Call); stable >= 0 {
			prove(stable, take{op: e, ret: e.Return})
		}
	}
	taken = make(map[int]take)
	for i := len(h.log) - 1; i >= c.start; i-- {
		prove(i, proofs[i+1])
		if !got[i] && proofs[i].ret != history.Never {
			places = append(places, i)
			taken[i] = proofs[i]
		}
	}
	slices.Reverse(places)
	return places, taken
}
