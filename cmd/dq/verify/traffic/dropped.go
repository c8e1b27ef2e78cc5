package traffic

import "dq/cmd/dq/verify/history"

// droppedConsumer is the name of the consumer of the scene "dropped".
const droppedConsumer = "slow"

// playDropped appends more messages to a topic than it keeps, so that a consumer misses
// some, and asks for their number when the consumer is at the end.
func playDropped(r *round) {
	if !r.setTheScene() {
		return
	}
	w := r.worker("dropped")
	limit := history.Settings{MaxMessages: 5, WhenFull: "drop_oldest"}
	w.retry("a topic gets a limit", func() *history.Op { return w.changeTopic(limit) })
	id, created := w.addNewConsumer(consumerSpec{name: droppedConsumer, mode: modeAuto})
	if !created {
		return
	}

	for range 3 {
		w.repeat(6, "messages are appended", func(i int) *history.Op {
			if i == 2 {
				return w.fetch(id, 0)
			}
			return w.append(batch{names: w.newMessages(1 + i%3)})
		})
	}
	w.retryUntil("a slow consumer is at the end", func() (*history.Op, bool) {
		op := w.fetch(id, 0)
		return op, len(op.Got) == 0
	})
	w.retry("a consumer is described", func() *history.Op { return w.describeConsumer(droppedConsumer) })
}
