package traffic

import (
	"math/rand/v2"

	"dq/cmd/dq/verify/history"
)

// playLife creates and deletes one topic again and again by several workers at the
// same time, which also append to it and read it.
func playLife(r *round) {
	work := make(map[string]func(*worker))
	for _, name := range []string{"l1", "l2", "l3"} {
		work[name] = func(w *worker) { w.repeat(40, "a topic is created and deleted", w.live) }
	}
	r.together(work)
}

// live makes one call on a topic that others create and delete.
func (w *worker) live(int) *history.Op {
	switch rand.IntN(8) {
	case 0:
		return w.topicCall(history.OpEnsureTopic, w.topic)
	case 1:
		return w.topicCall(history.OpCreateTopic, w.topic)
	case 2:
		return w.topicCall(history.OpDeleteTopic, w.topic)
	case 3:
		return w.topicCall(history.OpDescribeTopic, w.topic)
	case 4:
		return w.browse(browseOptions{from: 1, limit: replayLimit})
	}
	return w.append(batch{names: w.newMessages(1)})
}
