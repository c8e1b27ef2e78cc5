package traffic

import (
	"math/rand/v2"
	"time"

	"dq/cmd/dq/verify/history"
)

const seekMessages = 20

// playSeek moves consumers while they get messages. The topic does not change
// meanwhile.
func playSeek(r *round) {
	if !r.setTheScene() {
		return
	}
	setup := r.worker("setup")
	names := setup.newMessages(seekMessages)
	_, stored := setup.appendAll(batch{names: names, key: names[0]})
	auto, created := setup.addNewConsumer(consumerSpec{mode: modeAuto, first: true})
	lease, created2 := setup.addNewConsumer(consumerSpec{mode: modeLease, lease: 500 * time.Millisecond, first: true})
	if !stored || !created || !created2 {
		return
	}

	r.producedAt.Store(r.rec.Now())
	r.together(map[string]func(*worker){
		"seek1": func(w *worker) { w.fetchAndSeek(auto, 3) },
		"seek2": func(w *worker) { w.fetchAndSeek(auto, 5) },
		"lease": func(w *worker) { w.fetchAgain(lease) },
	})
	r.worker("replay").replay()
}

// fetchAndSeek gets messages of a consumer in mode auto, and moves it with each n-th
// call.
func (w *worker) fetchAndSeek(id int64, n int) {
	w.repeat(18, "a consumer is moved", func(i int) *history.Op {
		switch {
		case i%n == n-1:
			return w.seek(id, 1+rand.Uint64N(seekMessages))
		case i%2 == 0:
			return w.consume(id)
		}
		return w.fetch(id, 0)
	})
}

// fetchAgain acknowledges all messages of a consumer, moves it back, and does so again.
func (w *worker) fetchAgain(id int64) {
	w.fetchLeases(id)
	for _, to := range []uint64{1, 1 + rand.Uint64N(seekMessages)} {
		w.retry("a consumer is moved", func() *history.Op { return w.seek(id, to) })
		w.fetchLeases(id)
	}
}
