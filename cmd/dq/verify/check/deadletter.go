package check

import (
	"strconv"

	"dq/cmd/dq/verify/history"
)

// deadLetter is a message in the dead-letter topic.
type deadLetter struct {
	sequence   uint64 // of the message in its own topic
	deliveries int
	op         *history.Op // that read it
}

// addDeadLetters adds what op has read from the dead-letter topic.
func (h *topicHistory) addDeadLetters(op *history.Op) {
	for _, m := range op.Got {
		h.count(checkDeadLetter, 1)
		if before, found := h.dead[m.Data]; found {
			h.violated(checkDeadLetter, proof{before.op, op}, "%s is in the dead-letter topic twice", m.Data)
		}
		if h.sends[m.Data] == nil {
			h.violated(checkDeadLetter, proof{op}, "%s is in the dead-letter topic, and was never sent", m.Data)
		}
		sequence, _ := strconv.ParseUint(m.Headers["Dq-Dead-Sequence"], 10, 64)
		deliveries, _ := strconv.Atoi(m.Headers["Dq-Dead-Deliveries"])
		h.dead[m.Data] = deadLetter{sequence: sequence, deliveries: deliveries, op: op}
	}
}

// checkDeadLetters checks that each message of c, which has a limit of deliveries, was
// acknowledged or is a dead letter, and that those are the messages which were
// delivered so often and not acknowledged.
func (h *topicHistory) checkDeadLetters(c *consumer) {
	leases := make(map[int][]*lease) // by the index of their message
	for _, l := range c.leases() {
		leases[l.index] = append(leases[l.index], l)
		if l.count > c.maxDeliveries {
			h.violated(checkDeadLetter, proof{c.created, l.op},
				"consumer %d may get a message %d times, and got %s as delivery %d",
				c.id, c.maxDeliveries, h.log[l.index].data, l.count)
		}
	}

	for i := c.start; i < len(h.log); i++ {
		h.count(checkDeadLetter, 1)
		if letter, isDead := h.dead[h.log[i].data]; isDead {
			h.checkDeadLetter(c, h.log[i], letter, leases[i])
		} else {
			h.checkAcked(c, i, leases[i])
		}
	}
}

// checkDeadLetter checks that a dead letter was delivered too often and not acknowledged.
func (h *topicHistory) checkDeadLetter(c *consumer, e entry, letter deadLetter, leases []*lease) {
	if letter.sequence != e.sequence || letter.deliveries != c.maxDeliveries {
		h.violated(checkDeadLetter, proof{c.created, letter.op},
			"the dead letter %s says sequence %d and %d deliveries: it has sequence %d, and is delivered %d times",
			e.data, letter.sequence, letter.deliveries, e.sequence, c.maxDeliveries)
	}

	most := 0
	for _, l := range leases {
		most = max(most, l.count)
		if l.ack != nil && l.ack.Return < l.heldUntil-leaseSlack {
			h.violated(checkDeadLetter, proof{l.op, l.ack, letter.op},
				"consumer %d acknowledged %s, and it is a dead letter", c.id, e.data)
		}
	}
	if most < c.maxDeliveries && len(c.unanswered) == 0 {
		h.violated(checkDeadLetter, proof{c.created, letter.op},
			"%s is a dead letter, and consumer %d got it %d times", e.data, c.id, most)
	}
}

// checkAcked checks that a message which is no dead letter was acknowledged, if c was
// said to have nothing left.
func (h *topicHistory) checkAcked(c *consumer, index int, leases []*lease) {
	for _, l := range leases {
		if l.ackTried {
			return
		}
	}

	for _, size := range c.sizes {
		if size.Size > 0 || index >= h.storedBefore(size.Call) {
			continue
		}
		ops := proof{h.log[index].proof, size}
		for _, l := range leases {
			ops = append(ops, l.op)
		}
		h.violated(checkDeadLetter, ops,
			"consumer %d has nothing left, and %s was neither acknowledged nor is it a dead letter",
			c.id, h.log[index].data)
		return
	}
}

// mayBeDead reports whether a message of c may have become a dead letter after that many
// deliveries: this was the last one, or later ones were not seen.
func (h *topicHistory) mayBeDead(c *consumer, index, deliveries int) bool {
	_, isDead := h.dead[h.log[index].data]
	return c.maxDeliveries > 0 && (deliveries >= c.maxDeliveries || isDead && len(c.unanswered) > 0)
}
