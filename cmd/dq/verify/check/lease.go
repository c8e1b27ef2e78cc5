package check

import (
	"slices"
	"time"

	"dq/cmd/dq/verify/history"
)

// leaseSlack is how inexact the times of leases are taken to be: brokers count
// in milliseconds, of clocks that may be set.
const leaseSlack = int64(50 * time.Millisecond)

// token is what is known of one lease.
type token struct {
	take    take
	until   int64       // the lease surely held until then, unless it was given back
	given   int64       // the first attempt to give it back or acknowledge it; never if there is none
	back    *history.Op // a nack that was answered with success
	acked   *history.Op // an ack that was answered with success
	trying  bool        // an ack was tried, and may have had an effect
	extends bool        // an extend was tried
}

// checkLeases checks what c, in mode lease, handed out and what became of it.
func (h *topicHistory) checkLeases(c *consumer) {
	tokens := c.tokens()
	h.checkSettled(c, tokens)
	byPlace := make(map[int][]*token)
	for _, t := range c.takes {
		k, leases := tokens[t.token], byPlace[t.place]
		if last := len(leases) - 1; last < 0 || leases[last] != k {
			byPlace[t.place] = append(leases, k)
		} else {
			h.violated(checkLease, []*history.Op{k.take.op, t.op}, "consumer %d handed out %s twice as delivery %d", c.id, h.log[t.place].data, t.n)
		}
	}
	h.count(checkLease, len(c.takes))
	for _, leases := range byPlace {
		for i, k := range leases {
			if i > 0 {
				h.checkAgain(c, leases[i-1], k)
			}
			h.checkForgotten(c, k, leases[i+1:])
		}
		h.checkCounts(c, leases)
	}
	h.checkAllAcked(c, byPlace)
}

// tokens is what became of each lease.
func (c *consumer) tokens() map[string]*token {
	tokens := make(map[string]*token)
	for _, t := range c.takes {
		if k := tokens[t.token]; k == nil || t.call < k.take.call {
			tokens[t.token] = &token{take: t, until: t.call + c.lease, given: history.Never}
		}
	}
	for _, op := range c.settle {
		for _, text := range op.Tokens {
			if k := tokens[text]; k != nil {
				k.settled(c, op, slices.Contains(op.Lost, text))
			}
		}
	}
	return tokens
}

func (k *token) settled(c *consumer, op *history.Op, lost bool) {
	did := op.Outcome == history.OK || op.Code == "lease_lost" && !lost
	if lost || op.Outcome == history.Refused && !did {
		return
	}
	switch op.Kind {
	case history.OpExtend:
		k.extends = true
		if did {
			k.until = max(k.until, op.Call+c.lease)
		}
		return
	case history.OpNack:
		if did {
			k.back = op
		}
	case history.OpAck:
		k.trying = true
		if did {
			k.acked = op
		}
	}
	k.given = min(k.given, op.Call)
}

// checkSettled checks that nobody was told that a lease is lost which surely was
// not.
func (h *topicHistory) checkSettled(c *consumer, tokens map[string]*token) {
	for _, op := range c.settle {
		for _, text := range op.Lost {
			h.count(checkLease, 1)
			if k := tokens[text]; k != nil && op.Return < k.until-leaseSlack && k.given > op.Return {
				h.violated(checkLease, []*history.Op{k.take.op, op}, "consumer %d had a lease on %s, and was told that it has not", c.id, h.log[k.take.place].data)
			}
		}
	}
}

// checkAgain checks two deliveries of a message, one after the other.
func (h *topicHistory) checkAgain(c *consumer, a, b *token) {
	data := h.log[a.take.place].data
	ops := []*history.Op{a.take.op, a.acked, a.back, b.take.op}
	h.count(checkAck, 1)
	switch {
	case a.acked != nil:
		h.violated(checkAck, ops, "consumer %d acknowledged %s, and got it again", c.id, data)
	case a.take.n == b.take.n:
		h.violated(checkLease, ops, "consumer %d handed out %s with two tokens as delivery %d", c.id, data, a.take.n)
	case b.take.ret < a.take.call:
		h.violated(checkLease, ops, "consumer %d got delivery %d of %s after delivery %d", c.id, a.take.n, data, b.take.n)
	case b.take.ret < a.until-leaseSlack && a.given > b.take.ret:
		h.violated(checkLease, ops, "consumer %d handed out %s while another worker had a lease on it", c.id, data)
	}
}

// checkForgotten checks that what was given back, or whose lease ran out, was
// not kept from those who asked: nobody was told "nothing" until it was handed
// out again or dealt with late.
func (h *topicHistory) checkForgotten(c *consumer, k *token, later []*token) {
	free := k.take.ret + c.lease + leaseSlack
	if k.extends { // it may have lasted longer
		free = history.Never
	}
	if k.back != nil {
		free = min(free, k.back.Return)
	}
	until := int64(history.Never)
	if len(later) > 0 {
		if later[0].take.n != k.take.n+1 {
			return // nobody knows when the one in between was
		}
		until = later[0].take.call
	}
	if k.trying {
		until = min(until, k.given)
	}
	for _, e := range c.lost { // a fetch that nobody got the answer of may have it
		if len(later) == 0 && e.Return > free {
			return
		}
	}
	for _, e := range c.empty {
		if free != history.Never && e.Call > free && e.Return < until {
			h.violated(checkStale, []*history.Op{k.take.op, k.back, e}, "consumer %d was told that there is nothing, and %s waited to be handed out again", c.id, h.log[k.take.place].data)
			return
		}
	}
}

// checkCounts checks that the deliveries that nobody got are no more than the
// fetches that were not answered, and that what was acknowledged came no more,
// not even as the same delivery.
func (h *topicHistory) checkCounts(c *consumer, leases []*token) {
	last := leases[len(leases)-1].take
	seen := make(map[int]bool)
	for _, k := range leases {
		seen[k.take.n] = true
	}
	if unseen := last.n - len(seen); unseen > len(c.lost) {
		h.violated(checkLease, []*history.Op{leases[0].take.op, last.op}, "delivery %d of %s is the %dth that consumer %d got, and only %d fetches were not answered",
			last.n, h.log[last.place].data, len(seen), c.id, len(c.lost))
	}
	for _, k := range leases {
		if k.acked == nil {
			continue
		}
		for _, t := range c.takes {
			if t.token == k.take.token && t.call > k.acked.Return {
				h.violated(checkAck, []*history.Op{k.take.op, k.acked, t.op}, "consumer %d acknowledged %s, and got it again", c.id, h.log[t.place].data)
			}
		}
	}
}

// checkAllAcked checks that everything was acknowledged, or may have been, when
// c was said to have nothing left.
func (h *topicHistory) checkAllAcked(c *consumer, byPlace map[int][]*token) {
	for _, op := range c.sizes {
		if op.Size > 0 {
			continue
		}
		for place := c.start; place <= h.stableBefore(op.Call); place++ {
			h.count(checkLost, 1)
			leases := byPlace[place]
			if !slices.ContainsFunc(leases, func(k *token) bool { return k.trying && k.given < op.Return }) {
				ops := []*history.Op{h.log[place].proof, c.made, op}
				for _, k := range leases {
					ops = append(ops, k.take.op)
				}
				h.violated(checkLost, ops, "consumer %d has nothing left, and %s was never acknowledged", c.id, h.log[place].data)
				return
			}
		}
	}
}
