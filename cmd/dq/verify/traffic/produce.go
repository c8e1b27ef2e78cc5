package traffic

import (
	"math/rand/v2"

	"dq/cmd/dq/verify/history"
)

// producers are the workers that send messages until the round has enough.
var producers = []func(*round){
	func(r *round) { r.worker("p1").produceSingly() },
	func(r *round) { r.worker("p2").produceSingly() },
	func(r *round) { r.worker("p3").produceSingly() },
	func(r *round) { r.worker("batch").produceBatches(false) },
	func(r *round) { r.worker("atomic").produceBatches(true) },
	func(r *round) { r.worker("again").produceRepeatedly() },
}

// maxBatch is the size of the largest batch.
const maxBatch = 5

// newProducer registers a producer until that is answered.
func (w *worker) newProducer() (id int64, succeeded bool) {
	op, succeeded := w.retry("a producer is registered", w.registerProducer)
	return op.ID, succeeded
}

// produceSingly sends messages with the classic call, now and then with a new
// producer id.
func (w *worker) produceSingly() {
	id, registered := w.newProducer()
	for registered && w.reserve(1) {
		if !w.proceed(w.produce(id, w.newMessage()), "messages are produced") {
			return
		}
		if rand.IntN(50) == 0 {
			id, registered = w.newProducer()
		}
	}
}

// produceBatches sends batches of messages, each once.
func (w *worker) produceBatches(atomic bool) {
	for {
		n := 1 + rand.IntN(maxBatch)
		if !w.reserve(n) {
			return
		}
		if b := (batch{names: w.newMessages(n), atomic: atomic}); !w.proceed(w.append(b), "batches are produced") {
			return
		}
	}
}

// produceRepeatedly sends messages with an idempotency key until they are
// answered, and some of them once more after that.
func (w *worker) produceRepeatedly() {
	for {
		n := 1 + rand.IntN(2)
		if !w.reserve(n) {
			return
		}

		names := w.newMessages(n)
		for range 1 + rand.IntN(2) {
			w.appendAll(batch{names: names, key: names[0]})
			if w.gaveUp.Load() {
				return
			}
		}
	}
}

// appendAll appends messages until that is answered. Without an idempotency key they
// may be stored more than once.
func (w *worker) appendAll(b batch) (op *history.Op, succeeded bool) {
	return w.retry("messages are appended", func() *history.Op { return w.append(b) })
}

// endWorker is the name of the worker that sends the last message.
const endWorker = "end"

// produceEnd sends the last message of the round. A consumer that has received it
// has received all.
func (w *worker) produceEnd() {
	if id, registered := w.newProducer(); registered {
		w.retry("the last message is produced", func() *history.Op { return w.produce(id, w.newMessage()) })
	}
}
