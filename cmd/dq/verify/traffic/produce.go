package traffic

import (
	"math/rand/v2"

	"dq/cmd/dq/verify/history"
)

// producers are the workers that send messages until the round is full.
var producers = []func(*Round){
	func(r *Round) { r.Worker("p1").produceSingly() },
	func(r *Round) { r.Worker("p2").produceSingly() },
	func(r *Round) { r.Worker("p3").produceSingly() },
	func(r *Round) { r.Worker("batch").produceBatches(false) },
	func(r *Round) { r.Worker("atomic").produceBatches(true) },
	func(r *Round) { r.Worker("again").produceAgain() },
}

const maxBatch = 5

// producerID gets the worker a producer id.
func (w *worker) producerID() (id int64, done bool) {
	op, done := w.Persist("a producer is registered", func() *history.Op { return w.register(history.OpRegisterProducer) })
	return op.ID, done && op.Outcome == history.OK
}

// produceSingly sends messages with the classic call.
func (w *worker) produceSingly() {
	id, done := w.producerID()
	for done && w.more(1) {
		if !w.went(w.produce(id, w.next()), "messages are produced") {
			return
		}
		if rand.IntN(50) == 0 {
			id, done = w.producerID()
		}
	}
}

// batch is the names of new messages.
func (w *worker) batch(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = w.next()
	}
	return names
}

// produceBatches sends batches of messages.
func (w *worker) produceBatches(atomic bool) {
	for {
		n := 1 + rand.IntN(maxBatch)
		if !w.more(n) || !w.went(w.add(w.batch(n), "", atomic), "batches are produced") {
			return
		}
	}
}

// produceAgain sends messages with an idempotency key until they are answered,
// and some once more.
func (w *worker) produceAgain() {
	for {
		n := 1 + rand.IntN(2)
		if !w.more(n) {
			return
		}
		names := w.batch(n)
		for range 1 + rand.IntN(2) {
			if _, done := w.Persist("a message is produced with a key", func() *history.Op { return w.add(names, names[0], false) }); !done {
				return
			}
		}
	}
}

// produceEnd sends the last message of the round. Who has got it has got all.
func (w *worker) produceEnd() {
	if id, done := w.producerID(); done {
		w.Persist("the last message is produced", func() *history.Op { return w.produce(id, w.next()) })
	}
}
