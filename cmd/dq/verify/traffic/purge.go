package traffic

import (
	"math/rand/v2"

	"dq/cmd/dq/verify/history"
)

// playPurge appends, reads and consumes messages, and removes them meanwhile.
func playPurge(r *round) {
	if !r.setTheScene() {
		return
	}
	id, created := r.worker("setup").addNewConsumer(consumerSpec{mode: modeAuto})
	if !created {
		return
	}

	const calls = 24
	r.together(map[string]func(*worker){
		"producer": func(w *worker) {
			w.repeat(calls, "messages are appended", func(int) *history.Op {
				op := w.append(batch{names: w.newMessages(1)})
				w.noteReceipts(op)
				return op
			})
		},
		"purger": func(w *worker) {
			w.repeat(calls/3, "messages are purged", func(i int) *history.Op {
				if i%4 == 3 {
					return w.purge(0)
				}
				return w.purge(1 + rand.Uint64N(max(1, w.highest.Load())))
			})
		},
		"reader": func(w *worker) { w.repeat(calls, "messages are read", w.readPurged) },
		"consumer": func(w *worker) {
			w.repeat(calls, "messages are consumed", func(int) *history.Op { return w.fetch(id, 0) })
		},
	})
	r.worker("counter").countPurged(id)
}

// countPurged asks for the size of a consumer after each of some calls that change it,
// while nobody else does anything.
func (w *worker) countPurged(id int64) {
	for _, all := range []bool{false, true} {
		w.repeat(8, "sizes are read", func(i int) *history.Op {
			switch {
			case i%2 == 1:
				return w.size(id)
			case i == 4 && all:
				return w.purge(0)
			case i == 4:
				return w.purge(max(2, w.highest.Load()) - 1)
			case i == 6:
				return w.fetch(id, 0)
			}
			op := w.append(batch{names: w.newMessages(2), atomic: true})
			w.noteReceipts(op)
			return op
		})
	}
}

// readPurged reads from a topic whose messages are purged meanwhile.
func (w *worker) readPurged(i int) *history.Op {
	switch i % 3 {
	case 0:
		return w.get(1 + rand.Uint64N(w.highest.Load()+1))
	case 1:
		return w.topicCall(history.OpDescribeTopic, w.topic)
	}
	return w.browse(browseOptions{from: 1, limit: replayLimit})
}

// noteReceipts raises the highest sequence to those of the receipts.
func (w *worker) noteReceipts(op *history.Op) {
	for _, receipt := range op.Receipts {
		w.noteSequences([]history.Message{{Sequence: receipt.Sequence}})
	}
}
