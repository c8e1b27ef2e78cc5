package traffic

import (
	"math/rand/v2"
	"time"

	"dq/cmd/dq/verify/history"
)

// playKeys appends messages with several keys, and consumes and reads those of one.
func playKeys(r *round) {
	if !r.setTheScene() {
		return
	}
	setup := r.worker("setup")
	auto, ok := setup.addNewConsumer(consumerSpec{mode: modeAuto, of: "a"})
	lease, ok2 := setup.addNewConsumer(consumerSpec{mode: modeLease, lease: time.Second, of: "b/c", first: true})
	if !ok || !ok2 {
		return
	}

	r.together(map[string]func(*worker){
		"auto":  func(w *worker) { w.fetchAll(auto) },
		"lease": func(w *worker) { w.fetchLeases(lease) },
		"reader": func(w *worker) {
			w.repeat(12, "messages of a key are read", func(int) *history.Op {
				return w.browse(browseOptions{from: 1 + rand.Uint64N(10), limit: 1 + rand.IntN(30), of: "a"})
			})
		},
		"producers": func(*worker) {
			r.together(map[string]func(*worker){"k1": (*worker).appendWithKeys, "k2": (*worker).appendWithKeys})
			r.producedAt.Store(r.rec.Now())
		},
	})
	r.worker("replay").replay()
}

func (w *worker) appendWithKeys() {
	keys := []string{"", "a", "a", "b/c", "d"}
	w.repeat(20, "messages with keys are appended", func(int) *history.Op {
		return w.append(batch{names: w.newMessages(1 + rand.IntN(2)), of: keys[rand.IntN(len(keys))]})
	})
}
