package verify

import "math/rand/v2"

// producers are the workers that send messages until the round is full.
var producers = []func(*round){
	func(r *round) { r.worker("p1").produceSingly() },
	func(r *round) { r.worker("p2").produceSingly() },
	func(r *round) { r.worker("p3").produceSingly() },
	func(r *round) { r.worker("batch").produceBatches(false) },
	func(r *round) { r.worker("atomic").produceBatches(true) },
	func(r *round) { r.worker("again").produceAgain() },
}

const maxBatch = 5

// producerID gets the worker a producer id.
func (w *worker) producerID() (id int64, done bool) {
	op, done := w.persist("a producer is registered", func() *Op { return w.register(opRegisterProducer) })
	return op.ID, done && op.Outcome == ok
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
			if _, done := w.persist("a message is produced with a key", func() *Op { return w.add(names, names[0], false) }); !done {
				return
			}
		}
	}
}

// produceEnd sends the last message of the round. Who has got it has got all.
func (w *worker) produceEnd() {
	if id, done := w.producerID(); done {
		w.persist("the last message is produced", func() *Op { return w.produce(id, w.next()) })
	}
}
