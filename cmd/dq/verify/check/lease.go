package check

import (
	"slices"
	"time"

	"dq/cmd/dq/verify/history"
)

// leaseSlack is the inaccuracy of the times of leases, in nanoseconds: brokers
// count in milliseconds, by clocks that may be set.
const leaseSlack = int64(50 * time.Millisecond)

// lease is what is known of one lease. Its token names it.
type lease struct {
	delivery
	heldUntil int64       // it lasted at least until then, unless it was released
	released  int64       // first attempt to ack or nack it; [history.Never] without any
	nack      *history.Op // that was answered with success, or nil
	ack       *history.Op // that was answered with success, or nil
	ackTried  bool        // an ack may have had an effect
	extended  bool        // an extend may have had an effect
}

// checkLeases checks what c, in mode lease, delivered, and that acks, nacks and
// extends had their effects.
func (h *topicHistory) checkLeases(c *consumer) {
	leases := c.leases()
	h.checkLostLeases(c, leases)

	byIndex := make(map[int][]*lease)
	for _, d := range c.deliveries {
		l, before := leases[d.token], byIndex[d.index]
		if last := len(before) - 1; last >= 0 && before[last] == l {
			h.violated(checkLease, proof{l.op, d.op},
				"consumer %d delivered %s twice as delivery %d", c.id, h.log[d.index].data, d.count)
			continue
		}
		byIndex[d.index] = append(before, l)
	}
	h.count(checkLease, len(c.deliveries))

	for _, ofMessage := range byIndex {
		for i, l := range ofMessage {
			if i > 0 {
				h.checkRedelivery(c, ofMessage[i-1], l)
			}
			h.checkForgotten(c, l, ofMessage[i+1:])
			h.checkAckIsFinal(c, l)
		}
		h.checkCounts(c, ofMessage)
	}
	h.checkAllAcked(c, byIndex)
}

// leases returns the leases of c by their tokens.
func (c *consumer) leases() map[string]*lease {
	leases := make(map[string]*lease)
	for _, d := range c.deliveries {
		if l := leases[d.token]; l == nil || d.call < l.call {
			leases[d.token] = &lease{delivery: d, heldUntil: d.call + c.lease, released: history.Never}
		}
	}
	for _, op := range c.leaseCalls {
		for _, token := range op.Tokens {
			if l := leases[token]; l != nil {
				l.add(op, c.lease, slices.Contains(op.LostTokens, token))
			}
		}
	}
	return leases
}

// add adds a call that named the lease, and extends it by duration if it is one.
// Lost says that the lease had ended then.
func (l *lease) add(op *history.Op, duration int64, lost bool) {
	succeeded := op.Outcome == history.OK || op.Code == "lease_lost" && !lost
	if lost || op.Outcome == history.Refused && !succeeded {
		return
	}

	switch op.Kind {
	case history.OpExtend:
		l.extended = true
		if succeeded {
			l.heldUntil = max(l.heldUntil, op.Call+duration)
		}
		return
	case history.OpNack:
		if succeeded {
			l.nack = op
		}
	case history.OpAck:
		l.ackTried = true
		if succeeded {
			l.ack = op
		}
	}
	l.released = min(l.released, op.Call)
}

// checkLostLeases checks that no worker was told that a lease is lost while it
// certainly had it.
func (h *topicHistory) checkLostLeases(c *consumer, leases map[string]*lease) {
	for _, op := range c.leaseCalls {
		for _, token := range op.LostTokens {
			h.count(checkLease, 1)
			if l := leases[token]; l != nil && op.Return < l.heldUntil-leaseSlack && l.released > op.Return {
				h.violated(checkLease, proof{l.op, op},
					"consumer %d had a lease on %s, and was told that it has not", c.id, h.log[l.index].data)
			}
		}
	}
}

// checkRedelivery checks two deliveries of a message, one after the other.
func (h *topicHistory) checkRedelivery(c *consumer, a, b *lease) {
	data := h.log[a.index].data
	ops := proof{a.op, a.ack, a.nack, b.op}
	h.count(checkAck, 1)
	switch {
	case a.ack != nil:
		h.violated(checkAck, ops, "consumer %d acknowledged %s, and got it again", c.id, data)
	case a.count == b.count:
		h.violated(checkLease, ops, "consumer %d delivered %s with two tokens as delivery %d", c.id, data, a.count)
	case b.ret < a.call:
		h.violated(checkLease, ops, "consumer %d got delivery %d of %s after delivery %d", c.id, a.count, data, b.count)
	case b.ret < a.heldUntil-leaseSlack && a.released > b.ret:
		h.violated(checkLease, ops, "consumer %d delivered %s while another worker had a lease on it", c.id, data)
	}
}

// checkForgotten checks that a message was not withheld after its lease was given
// back or had ended: until the message was delivered again, or acknowledged late,
// no fetch was told that nothing is left. Later are the later leases on it.
func (h *topicHistory) checkForgotten(c *consumer, l *lease, later []*lease) {
	if h.mayBeDead(c, l.index, l.count) {
		return
	}
	free := l.ret + c.lease + leaseSlack // from then on it could be delivered again
	if l.extended {
		free = history.Never // nobody knows how long it lasted
	}
	if l.nack != nil {
		free = min(free, l.nack.Return)
	}

	until := int64(history.Never)
	if len(later) > 0 {
		if later[0].count != l.count+1 {
			return // nobody knows when the delivery in between was
		}
		until = later[0].call
	}
	if l.ackTried {
		until = min(until, l.released)
	}
	if len(later) == 0 && slices.ContainsFunc(c.unanswered, func(op *history.Op) bool { return op.Return > free }) {
		return // a fetch without an answer may have it
	}

	for _, e := range c.empty {
		if free != history.Never && e.Call > free && e.Return < until {
			h.violated(checkStale, proof{l.op, l.nack, e},
				"consumer %d was told that there is nothing, and %s waited to be delivered again",
				c.id, h.log[l.index].data)
			return
		}
	}
}

// checkAckIsFinal checks that an acknowledged message was not delivered again, not
// even as the same delivery.
func (h *topicHistory) checkAckIsFinal(c *consumer, l *lease) {
	if l.ack == nil {
		return
	}
	for _, d := range c.deliveries {
		if d.token == l.token && d.call > l.ack.Return {
			h.violated(checkAck, proof{l.op, l.ack, d.op},
				"consumer %d acknowledged %s, and got it again", c.id, h.log[d.index].data)
		}
	}
}

// checkCounts checks that no more deliveries of a message are missing than fetches
// were not answered.
func (h *topicHistory) checkCounts(c *consumer, leases []*lease) {
	last := leases[len(leases)-1]
	seen := make(map[int]bool)
	for _, l := range leases {
		seen[l.count] = true
	}

	if missing := last.count - len(seen); missing > len(c.unanswered) {
		h.violated(checkLease, proof{leases[0].op, last.op},
			"delivery %d of %s is the %dth that consumer %d got, and only %d fetches were not answered",
			last.count, h.log[last.index].data, len(seen), c.id, len(c.unanswered))
	}
}

// checkAllAcked checks that every message was acknowledged, or may have been, when
// the size of c was said to be 0.
func (h *topicHistory) checkAllAcked(c *consumer, byIndex map[int][]*lease) {
	if c.maxDeliveries > 0 {
		return // checkDeadLetters does it
	}
	for _, op := range c.sizes {
		if op.Size > 0 {
			continue
		}
		for i := c.start; i < h.storedBefore(op.Call); i++ {
			h.count(checkLost, 1)
			acked := func(l *lease) bool { return l.ackTried && l.released < op.Return }
			if slices.ContainsFunc(byIndex[i], acked) {
				continue
			}

			ops := proof{h.log[i].proof, c.created, op}
			for _, l := range byIndex[i] {
				ops = append(ops, l.op)
			}
			h.violated(checkLost, ops,
				"consumer %d has nothing left, and %s was never acknowledged", c.id, h.log[i].data)
			return
		}
	}
}
