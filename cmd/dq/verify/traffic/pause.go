package traffic

import (
	"time"

	"dq/cmd/dq/verify/history"
)

const (
	shortPause = 150 * time.Millisecond
	longPause  = time.Minute
)

// playPause pauses a consumer while messages are produced and consumed.
func playPause(r *round) {
	if !r.setTheScene() {
		return
	}
	id, created := r.worker("setup").addNewConsumer(consumerSpec{mode: modeAuto})
	if !created {
		return
	}

	r.together(map[string]func(*worker){
		"consumer": func(w *worker) { w.fetchAll(id) },
		"others": func(*worker) {
			r.together(map[string]func(*worker){
				"pauser":   func(w *worker) { w.pauseAndResume(id) },
				"producer": func(w *worker) { w.appendSlowly() },
			})
			r.producedAt.Store(r.rec.Now())
		},
	})
	r.worker("replay").replay()
}

// pauseAndResume pauses a consumer, once until the pause is over and once until it is
// resumed, and does so again.
func (w *worker) pauseAndResume(id int64) {
	for range 2 {
		w.retry("a consumer is paused", func() *history.Op { return w.pause(id, shortPause) })
		time.Sleep(2 * shortPause)
		w.retry("a consumer is paused", func() *history.Op { return w.pause(id, longPause) })
		time.Sleep(shortPause)
		w.retry("a consumer is resumed", func() *history.Op { return w.resume(id) })
		time.Sleep(shortPause)
	}
}

// appendSlowly appends messages for as long as a consumer is paused and resumed.
func (w *worker) appendSlowly() {
	w.repeat(60, "messages are appended", func(int) *history.Op {
		time.Sleep(shortPause / 10)
		return w.append(batch{names: w.newMessages(1)})
	})
}
