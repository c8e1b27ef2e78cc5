package check

import (
	"slices"
	"time"

	"dq/cmd/dq/verify/history"
)

// leaseSlack is the inaccuracy of the times of leases, in nanoseconds: brokers
// count in milliseconds, by clocks that may be set.
const leaseSlack = int64(50 * time.Millisecond)

const (
	// restartSlack is how much earlier a lease may end because the engine was started again,
	// in nanoseconds: it stores the seconds of a lease only.
	restartSlack = int64(time.Second)

	// longStop is how long a restart takes at least if dq has ended before its engine, in
	// nanoseconds.
	longStop = int64(2 * time.Second)
)

// lease is what is known of one lease. Its token names it.
type lease struct {
	delivery
	heldUntil int64       // it lasted at least until then, unless it was released
	released  int64       // first attempt to ack or nack the message meanwhile; [history.Never] without any
	nack      *history.Op // the first that was answered with success, or nil
	ack       *history.Op // the first that was answered with success, or nil
	acking    int64       // first attempt to ack the message; [history.Never] without any
	extended  bool        // an extend may have had an effect

	calls []*history.Op // that named it, and may have had an effect
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
		share(ofMessage)
		for i, l := range ofMessage {
			if i > 0 {
				h.checkRedelivery(c, ofMessage[i-1], l)
			}
			h.checkForgotten(c, l, ofMessage[i+1:])
		}
		h.checkCounts(c, ofMessage)
	}
	h.checkAcksAreFinal(c, byIndex)
	h.checkAllAcked(c, byIndex)
}

// share applies the calls that named one lease of a message to the other ones: they act
// on the message, whoever has it. A call applies to each lease that can have existed
// when it took effect.
func share(leases []*lease) {
	for _, a := range leases {
		for _, b := range leases {
			for _, op := range a.calls {
				if op.Outcome != history.Unknown && op.Return < b.call {
					continue
				}
				b.extended = b.extended || op.Kind == history.OpExtend
				if op.Kind != history.OpExtend {
					b.released = min(b.released, op.Call)
				}
				if op.Kind == history.OpAck {
					b.acking = min(b.acking, op.Call)
				}
			}
		}
	}
}

// crashes returns how often a broker or its engine ended between two times without having
// written what it did last: a lease may have ended early then, and a delivery may be
// counted twice or not at all.
func (h *topicHistory) crashes(from, to int64) (n int) {
	for _, op := range h.ops {
		if op.Kind == history.OpFault && op.Return >= from && op.Call <= to && isCrash(op) {
			n++
		}
	}
	return n
}

// isCrash reports whether a fault may have had a broker or its engine end without having
// written everything. After a disk was full, the engine is started again.
func isCrash(fault *history.Op) bool {
	switch fault.Name {
	case history.FaultKill, history.FaultDisk:
		return true
	case history.FaultRestart:
		return fault.Return-fault.Call >= longStop
	}
	return false
}

// slack returns how much earlier than it should a lease may have ended between two times.
func (h *topicHistory) slack(from, to int64) int64 {
	restarted := slices.ContainsFunc(h.ops, func(op *history.Op) bool {
		return op.Kind == history.OpFault && op.Name == history.FaultRestart && op.Return >= from && op.Call <= to
	})
	if restarted {
		return leaseSlack + restartSlack
	}
	return leaseSlack
}

// untaken returns how many deliveries of a message to c, until a time, may have reached no
// worker: one to each call that was not answered or just told that there is nothing, and
// one that a crash had counted twice.
func (h *topicHistory) untaken(c *consumer, until int64) (n int) {
	for _, op := range slices.Concat(c.unanswered, c.empty) {
		if op.Call <= until {
			n++
		}
	}
	return n + h.crashes(c.call, until)
}

// leases returns the leases of c by their tokens.
func (c *consumer) leases() map[string]*lease {
	leases := make(map[string]*lease)
	for _, d := range c.deliveries {
		if l := leases[d.token]; l == nil || d.call < l.call {
			leases[d.token] = &lease{
				delivery: d, heldUntil: d.call + c.lease, released: history.Never, acking: history.Never,
			}
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
// Lost says that the call was refused for this lease.
func (l *lease) add(op *history.Op, duration int64, lost bool) {
	succeeded := op.Outcome == history.OK || op.Code == "lease_lost" && !lost
	if lost || op.Outcome == history.Refused && !succeeded {
		return
	}

	l.calls = append(l.calls, op)
	switch op.Kind {
	case history.OpExtend:
		l.extended = true
		if succeeded {
			l.heldUntil = max(l.heldUntil, op.Call+duration)
		}
		return
	case history.OpNack:
		if succeeded && l.nack == nil {
			l.nack = op
		}
	case history.OpAck:
		l.acking = min(l.acking, op.Call)
		if succeeded && (l.ack == nil || op.Return < l.ack.Return) { // a repeated ack succeeds, too
			l.ack = op
		}
	}
	l.released = min(l.released, op.Call)
}

// checkLostLeases checks that no worker was told that a lease is lost: its token counts as
// long as the topic is not purged or deleted, also after the lease has ended. It is not
// called for a consumer that was moved.
func (h *topicHistory) checkLostLeases(c *consumer, leases map[string]*lease) {
	for _, op := range c.leaseCalls {
		for _, token := range op.LostTokens {
			h.count(checkLease, 1)
			if l := leases[token]; l != nil && !h.emptied(op.Return) {
				h.violated(checkLease, proof{l.op, op},
					"consumer %d had a lease on %s, and was told that it has not", c.id, h.log[l.index].data)
			}
		}
	}
}

// emptied reports whether the topic may have been purged or deleted before a time.
func (h *topicHistory) emptied(before int64) bool {
	return slices.ContainsFunc(h.ops, func(op *history.Op) bool {
		return (op.Kind == history.OpPurge || op.Kind == history.OpDeleteTopic) && op.Call < before
	})
}

// checkRedelivery checks two deliveries of a message, one after the other.
func (h *topicHistory) checkRedelivery(c *consumer, a, b *lease) {
	data := h.log[a.index].data
	ops := proof{a.op, a.ack, a.nack, b.op}
	h.count(checkAck, 1)
	switch {
	case a.ack != nil && a.ack.Return < b.call: // checkAcksAreFinal reports it
	case h.crashes(a.call, b.ret) > 0:
	case a.count == b.count:
		h.violated(checkLease, ops, "consumer %d delivered %s with two tokens as delivery %d", c.id, data, a.count)
	case b.ret < a.call:
		h.violated(checkLease, ops, "consumer %d got delivery %d of %s after delivery %d", c.id, a.count, data, b.count)
	case b.ret < a.heldUntil-h.slack(a.call, b.ret) && a.released > b.ret:
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
	until = min(until, l.acking)
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

// checkAcksAreFinal checks that a message was not delivered after an ack of it was
// answered, whichever of its deliveries that named, and not even as the same delivery.
func (h *topicHistory) checkAcksAreFinal(c *consumer, byIndex map[int][]*lease) {
	acked := make(map[int]*lease) // by the index of the message: the one whose ack was answered first
	for index, leases := range byIndex {
		for _, l := range leases {
			if first := acked[index]; l.ack != nil && (first == nil || l.ack.Return < first.ack.Return) {
				acked[index] = l
			}
		}
	}

	for _, d := range c.deliveries {
		if l := acked[d.index]; l != nil && d.call > l.ack.Return {
			h.violated(checkAck, proof{l.op, l.ack, d.op},
				"consumer %d acknowledged %s, and got it again", c.id, h.log[d.index].data)
		}
	}
}

// checkCounts checks that no more deliveries of a message are missing than may have
// reached no worker.
func (h *topicHistory) checkCounts(c *consumer, leases []*lease) {
	last := leases[len(leases)-1]
	seen := make(map[int]bool)
	for _, l := range leases {
		seen[l.count] = true
	}

	if missing, untaken := last.count-len(seen), h.untaken(c, last.ret); missing > untaken {
		h.violated(checkLease, proof{leases[0].op, last.op},
			"delivery %d of %s is the %dth that consumer %d got, and only %d may have reached no worker",
			last.count, h.log[last.index].data, len(seen), c.id, untaken)
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
			acked := func(l *lease) bool { return l.acking < op.Return }
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
