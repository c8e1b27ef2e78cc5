package check

import (
	"slices"

	"dq/cmd/dq/verify/history"
)

// span is the time in which something happened.
type span struct{ after, before int64 }

// checkSizes checks each size that c was said to have against what it can have
// been, given when messages were stored and taken.
func (h *topicHistory) checkSizes(c *consumer) {
	if c.mode == "stream" || len(c.sizes) == 0 {
		return // a stream moves its consumer back
	}
	gone := h.gone(c)
	// A message whose call overlapped with the registration may count, too.
	low := c.start
	for low > 0 && h.log[low-1].stable > c.call {
		low--
	}
	for _, op := range c.sizes {
		h.count(checkSize, 1)
		least, most := int64(0), int64(0)
		for i := low; i < len(h.log); i++ {
			if i >= c.start && h.log[i].stable < op.Call && gone[i].after > op.Return {
				least++
			}
			if h.log[i].call < op.Return && gone[i].before > op.Call {
				most++
			}
		}
		if op.Size < least || op.Size > most {
			h.violated(checkSize, []*history.Op{c.made, op}, "consumer %d was said to have %d messages, and had %d to %d", c.id, op.Size, least, most)
		}
	}
}

// gone is, for each message, when it stopped to count: when it was taken, or
// acknowledged in mode lease.
func (h *topicHistory) gone(c *consumer) []span {
	gone := slices.Repeat([]span{{history.Never, history.Never}}, len(h.log))
	if c.mode == "lease" {
		for _, k := range c.tokens() {
			g := &gone[k.take.place]
			if k.trying {
				g.after = min(g.after, k.given)
			}
			if k.acked != nil {
				g.before = min(g.before, k.acked.Return)
			}
		}
		return gone
	}
	for _, op := range c.lost { // one of these may have taken what is missing
		for i := range gone {
			gone[i].after = min(gone[i].after, op.Call)
		}
	}
	got := make([]bool, len(h.log))
	for _, t := range c.takes {
		got[t.place] = true
		gone[t.place] = span{t.call, t.ret}
	}
	// Messages are taken in order: after all before, and before all behind.
	for i := c.start + 1; i < len(gone); i++ {
		gone[i].after = max(gone[i].after, gone[i-1].after)
	}
	for i := len(gone) - 2; i >= 0; i-- {
		gone[i].before = min(gone[i].before, gone[i+1].before)
	}
	return gone
}
