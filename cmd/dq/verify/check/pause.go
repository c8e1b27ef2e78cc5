package check

import (
	"slices"

	"dq/cmd/dq/verify/history"
)

// checkPauses checks that c got nothing while it was paused, and was not told that
// nothing is left once it was resumed.
func (h *topicHistory) checkPauses(c *consumer) {
	if len(c.pauses) == 0 {
		return
	}
	for _, d := range c.deliveries {
		h.count(checkPause, 1)
		if pause := c.pausedDuring(d.call, d.ret); pause != nil {
			h.violated(checkPause, proof{pause, d.op}, "consumer %d was paused for %s, and got %s",
				c.id, pause.Delay, h.log[d.index].data)
		}
	}

	for _, e := range c.empty {
		resumed := c.lastPause(e)
		if resumed == nil || resumed.Kind != history.OpResume || len(c.unanswered) > 0 {
			continue
		}
		h.count(checkPause, 1)
		if waiting := h.firstNotGot(c, e); waiting < h.storedBefore(e.Call) {
			h.violated(checkPause, proof{resumed, h.log[waiting].proof, e},
				"consumer %d was resumed and told that there is nothing, and %s was there", c.id, h.log[waiting].data)
		}
	}
}

// pausedDuring returns the pause that was certainly in force between two times, nil
// without one.
func (c *consumer) pausedDuring(from, to int64) *history.Op {
	i := slices.IndexFunc(c.pauses, func(pause *history.Op) bool {
		inForce := pause.Kind == history.OpPause && pause.Outcome == history.OK &&
			pause.Return < from && to < pause.Call+int64(pause.Delay)-leaseSlack
		changed := slices.ContainsFunc(c.pauses, func(other *history.Op) bool {
			ended := other.Outcome != history.Unknown && other.Return < pause.Call
			return other != pause && !ended && other.Call < to
		})
		return inForce && !changed
	})
	if i < 0 {
		return nil
	}
	return c.pauses[i]
}

// mayBePaused reports whether c may have been paused at some time during op.
func (c *consumer) mayBePaused(op *history.Op) bool {
	last := c.lastPause(op)
	return len(c.pauses) > 0 && (last == nil || last.Kind == history.OpPause)
}

// lastPause returns the call that paused or resumed c last before op, nil if that is not
// certain: another one overlaps with op, or was not answered.
func (c *consumer) lastPause(op *history.Op) (last *history.Op) {
	for _, pause := range c.pauses {
		if pause.Call > op.Return {
			continue
		}
		if pause.Outcome != history.OK || pause.Return > op.Call {
			return nil
		}
		if last == nil || pause.Call > last.Call {
			last = pause
		}
	}
	return last
}

// firstNotGot returns the index of the first message that c had not got when op
// returned.
func (h *topicHistory) firstNotGot(c *consumer, op *history.Op) int {
	first := c.start
	for _, d := range c.deliveries {
		if d.index == first && d.call < op.Return {
			first++
		}
	}
	return first
}
