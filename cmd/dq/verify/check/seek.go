package check

import "dq/cmd/dq/verify/history"

// checkSeek checks that a consumer which is moved continues at the message that it was
// moved to.
func (h *topicHistory) checkSeek(c *consumer) {
	if c.mode == "lease" {
		h.checkSeeksOfLeases(c)
		return
	}

	ops := append(c.receives, c.seeks...)
	h.count(checkSeek, len(ops))
	m := machine[int]{next: h.nextPosition}
	if shown := m.firstImpossible(ops); shown != nil {
		h.violated(checkSeek, shown,
			"nothing explains the last of these answers to consumer %d, which starts at the first message", c.id)
	}
}

// nextPosition is the model of a consumer in mode auto, whose topic does not change: its
// state is the index of the next message.
func (h *topicHistory) nextPosition(next int, op *history.Op) (after []int) {
	switch {
	case op.Kind == history.OpSeek:
		return effect(op, next, h.indexOf(op.From))
	case op.Outcome == history.Unknown: // it may have taken any number of messages
		for n := next; n <= min(next+op.Limit, len(h.log)); n++ {
			after = append(after, n)
		}
		return after
	case len(op.Got) == 0:
		return onlyIf(next == len(h.log), next)
	}

	for i, m := range op.Got {
		if next+i >= len(h.log) || h.log[next+i].data != m.Data {
			return nil
		}
	}
	return []int{next + len(op.Got)}
}

// checkSeeksOfLeases checks that a consumer in mode lease, whose calls come one after
// the other, got every message from a seek on again before it was said to have nothing
// left, and none before that.
func (h *topicHistory) checkSeeksOfLeases(c *consumer) {
	for i, seek := range c.seeks {
		end := int64(history.Never) // of what this seek decides
		if i+1 < len(c.seeks) {
			end = c.seeks[i+1].Call
		}
		if seek.Outcome != history.OK {
			continue
		}
		h.count(checkSeek, 1)

		got := make(map[int]bool) // indexes of the messages
		for _, d := range c.deliveries {
			if d.call < seek.Return || d.ret > end {
				continue
			}
			if got[d.index] = true; d.index < h.indexOf(seek.From) {
				h.violated(checkSeek, proof{seek, d.op}, "consumer %d was moved to sequence %d, and got %s",
					c.id, seek.From, h.log[d.index].data)
			}
		}
		h.checkGotAfter(c, seek, end, got)
	}
}

// checkGotAfter checks that the messages which c got after a seek were all, if c was
// said to have nothing left before end.
func (h *topicHistory) checkGotAfter(c *consumer, seek *history.Op, end int64, got map[int]bool) {
	for _, size := range c.sizes {
		if size.Size > 0 || size.Call < seek.Return || size.Return > end {
			continue
		}
		for i := h.indexOf(seek.From); i < len(h.log); i++ {
			if !got[i] {
				h.violated(checkSeek, proof{seek, size},
					"consumer %d was moved to sequence %d, and never got %s after that", c.id, seek.From, h.log[i].data)
				return
			}
		}
	}
}
