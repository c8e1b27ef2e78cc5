package check

import (
	"slices"

	"dq/cmd/dq/verify/history"
)

// span is the time in which something happened: not before from, and before to.
type span struct{ from, to int64 }

// checkSizes checks each size of c against the least and the most that it can have
// been, given when messages were stored and when they stopped to count.
func (h *topicHistory) checkSizes(c *consumer) {
	if c.mode == "stream" || len(c.sizes) == 0 {
		return // a stream moves its consumer back
	}

	// A message whose produce overlapped with the registration may count, too.
	low := c.start
	for low > 0 && h.log[low-1].stored > c.call {
		low--
	}

	gone := h.gone(c)
	for _, op := range c.sizes {
		h.count(checkSize, 1)
		var least, most int64
		for i := low; i < len(h.log); i++ {
			if i >= c.start && h.log[i].stored < op.Call && gone[i].from > op.Return {
				least++
			}
			if h.log[i].call < op.Return && gone[i].to > op.Call {
				most++
			}
		}
		if op.Size < least || op.Size > most {
			h.violated(checkSize, proof{c.created, op},
				"consumer %d was said to have %d messages, and had %d to %d", c.id, op.Size, least, most)
		}
	}
}

// gone returns, for each message, when it stopped to count: when it was consumed in
// mode auto, or acknowledged in mode lease.
func (h *topicHistory) gone(c *consumer) []span {
	gone := slices.Repeat([]span{{history.Never, history.Never}}, len(h.log))
	if c.mode == "lease" {
		for i := range gone {
			if h.mayBeDead(c, i, 0) {
				gone[i].from = c.call
			}
		}
		for _, l := range c.leases() {
			g := &gone[l.index]
			if h.mayBeDead(c, l.index, l.count) {
				g.from = min(g.from, l.call)
			}
			if l.ackTried {
				g.from = min(g.from, l.released)
			}
			if l.ack != nil {
				g.to = min(g.to, l.ack.Return)
			}
		}
		return gone
	}

	// Any call of unknown outcome may have taken any message that is missing.
	for _, op := range c.unanswered {
		for i := range gone {
			gone[i].from = min(gone[i].from, op.Call)
		}
	}
	for _, d := range c.deliveries {
		gone[d.index] = span{d.call, d.ret}
	}

	// Messages are consumed in order: each after all earlier ones, and before all
	// later ones.
	for i := c.start + 1; i < len(gone); i++ {
		gone[i].from = max(gone[i].from, gone[i-1].from)
	}
	for i := len(gone) - 2; i >= 0; i-- {
		gone[i].to = min(gone[i].to, gone[i+1].to)
	}
	return gone
}
