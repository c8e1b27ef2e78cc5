package traffic

import (
	"math/rand/v2"

	"dq/cmd/dq/verify/history"
)

// playExpected appends messages that demand a last sequence, as other workers do at
// the same time.
func playExpected(r *round) {
	if !r.setTheScene() {
		return
	}
	work := make(map[string]func(*worker))
	for _, name := range []string{"e1", "e2", "e3"} {
		work[name] = (*worker).appendExpecting
	}
	r.together(work)
	r.worker("replay").replay()
}

// appendExpecting appends messages of which each demands the last sequence that
// somebody has seen, and now and then one that demands none.
func (w *worker) appendExpecting() {
	w.repeat(20, "messages that demand a last sequence are appended", func(i int) *history.Op {
		b := batch{names: w.newMessages(1)}
		if i%4 == 1 {
			b.names, b.atomic = w.newMessages(1+rand.IntN(3)), true
		}
		if i%5 > 0 {
			b.expected = new(w.highest.Load())
		}

		op := w.append(b)
		w.noteReceipts(op)
		if op.Last != nil {
			w.noteSequences([]history.Message{{Sequence: *op.Last}})
		}
		return op
	})
}
