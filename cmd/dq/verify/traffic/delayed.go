package traffic

import (
	"math/rand/v2"
	"time"

	"dq/cmd/dq/verify/history"
)

const goneSuffix = "-gone"

// playDelayed appends messages that are stored later, and some that are stored at
// once, and consumes them. Meanwhile it deletes a topic with delayed messages.
func playDelayed(r *round) {
	if !r.setTheScene() {
		return
	}
	setup := r.worker("setup")
	auto, ok := setup.addNewConsumer(consumerSpec{mode: modeAuto})
	lease, ok2 := setup.addNewConsumer(consumerSpec{mode: modeLease, lease: time.Second})
	if !ok || !ok2 {
		return
	}

	r.together(map[string]func(*worker){
		"auto":  func(w *worker) { w.fetchAll(auto) },
		"lease": func(w *worker) { w.fetchLeases(lease) },
		"gone":  (*worker).deleteWithDelayed,
		"delayed": func(w *worker) {
			w.awaitStored(append(w.appendDelayed(), w.appendBothWays()...))
			r.producedAt.Store(r.rec.Now())
		},
	})
	r.worker("replay").replay()
}

// appendDelayed appends messages of which most are delayed. It returns the names of
// those that were accepted.
func (w *worker) appendDelayed() (accepted []string) {
	for i := range 12 {
		b := batch{names: w.newMessages(1 + i%2)}
		if i%4 > 0 {
			b.delay = time.Duration(1+rand.IntN(1500)) * time.Millisecond
		}
		if i%3 == 0 {
			b.key = b.names[0]
		}

		// What has a key may be sent again.
		op := w.append(b)
		if !w.proceed(op, "delayed messages are appended") {
			return accepted
		}
		if b.key != "" {
			op, _ = w.appendAll(b)
		}
		if op.Outcome == history.OK {
			accepted = append(accepted, b.names...)
		}
	}
	return accepted
}

// appendBothWays appends messages with a key both at once and delayed, in either order.
// It returns their names.
func (w *worker) appendBothWays() (names []string) {
	for i := range 4 {
		name := w.newMessage()
		for _, delay := range []time.Duration{0, 300 * time.Millisecond} {
			if i%2 == 1 {
				delay = 300*time.Millisecond - delay
			}
			w.appendAll(batch{names: []string{name}, key: name, delay: delay})
		}
		names = append(names, name)
	}
	return names
}

// awaitStored waits until all messages with these names are in the topic.
func (w *worker) awaitStored(names []string) {
	w.retryUntil("delayed messages are stored", func() (*history.Op, bool) {
		op := w.browse(browseOptions{from: 1, limit: replayLimit})
		stored := make(map[string]bool)
		for _, m := range op.Got {
			stored[m.Data] = true
		}
		for _, name := range names {
			if !stored[name] {
				return op, false
			}
		}
		return op, true
	})
}

// deleteWithDelayed deletes a topic whose messages are due later, creates it again,
// and reads it after they are due.
func (w *worker) deleteWithDelayed() {
	w.topic += goneSuffix
	if !w.ensureTopic(w.topic) {
		return
	}
	const delay = time.Second
	w.appendAll(batch{names: w.newMessages(1), delay: delay})
	w.retry("the topic is deleted", func() *history.Op { return w.topicCall(history.OpDeleteTopic, w.topic) })
	if !w.ensureTopic(w.topic) {
		return
	}

	time.Sleep(delay + 1500*time.Millisecond) // the message would be there by then
	w.retry("the topic is read", func() *history.Op { return w.browse(browseOptions{from: 1, limit: replayLimit}) })
}
