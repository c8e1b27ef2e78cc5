package traffic

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"dq/cmd/dq/verify/history"
)

// consumerKinds are the consumers that a round has from its beginning. Each
// creates itself and returns what it does then: nothing if it was not created.
var consumerKinds = []func(*round) (consume func()){
	classicConsumer, sharedClassicConsumer, autoConsumer, leaseConsumer, sharedLeaseConsumer, streamConsumer,
}

func idle() {}

// classicConsumer is a consumer of the classic API.
func classicConsumer(r *round) func() {
	w := r.worker("c1")
	id, registered := w.newConsumer()
	if !registered {
		return idle
	}
	return func() { w.poll(id) }
}

// sharedClassicConsumer is two workers that share a consumer of the classic API.
func sharedClassicConsumer(r *round) func() {
	w := r.worker("c2")
	id, registered := w.newConsumer()
	if !registered {
		return idle
	}
	return func() {
		var workers sync.WaitGroup
		workers.Go(func() { w.poll(id) })
		workers.Go(func() { r.worker("c2b").poll(id) })
		workers.Wait()
	}
}

// autoConsumer is a consumer in mode auto that fetches.
func autoConsumer(r *round) func() {
	w := r.worker("auto")
	id, created := w.addNewConsumer(consumerSpec{mode: modeAuto})
	if !created {
		return idle
	}
	return func() { w.fetchAll(id) }
}

// leaseConsumer is a consumer in mode lease with one worker.
func leaseConsumer(r *round) func() {
	w := r.worker("lease")
	id, created := w.addNewConsumer(consumerSpec{mode: modeLease, lease: 500 * time.Millisecond})
	if !created {
		return idle
	}
	return func() { w.fetchLeases(id) }
}

// sharedLeaseConsumer is three workers that share a consumer in mode lease, which
// each of them creates by its name.
func sharedLeaseConsumer(r *round) func() {
	spec := consumerSpec{name: "shared", mode: modeLease, lease: 700 * time.Millisecond, first: true}
	consumers := make([]func(), 3)
	var creating sync.WaitGroup
	for i, name := range []string{"s1", "s2", "s3"} {
		creating.Go(func() {
			w := r.worker(name)
			id, created := w.addNewConsumer(spec)
			consumers[i] = idle
			if created {
				consumers[i] = func() { w.fetchLeases(id) }
			}
		})
	}
	creating.Wait()

	return func() {
		var workers sync.WaitGroup
		for _, consume := range consumers {
			workers.Go(consume)
		}
		workers.Wait()
	}
}

// streamConsumer is a consumer in mode auto that reads streams. Nobody asks for
// its size: a stream that continues after an event moves the consumer back.
func streamConsumer(r *round) func() {
	w := r.worker("stream")
	op, created := w.retry("a consumer is created", func() *history.Op {
		return w.createConsumer(consumerSpec{mode: modeStream})
	})
	if !created {
		return idle
	}
	return func() { w.streamAll(op.ID, op.From) }
}

// newConsumer registers a classic consumer until that is answered.
func (w *worker) newConsumer() (id int64, succeeded bool) {
	op, succeeded := w.retry("a consumer is registered", w.registerConsumer)
	if succeeded {
		w.addConsumer(op.ID)
	}
	return op.ID, succeeded
}

// addNewConsumer creates a consumer until that is answered.
func (w *worker) addNewConsumer(spec consumerSpec) (id int64, succeeded bool) {
	op, succeeded := w.retry("a consumer is created", func() *history.Op { return w.createConsumer(spec) })
	if succeeded {
		w.addConsumer(op.ID)
	}
	return op.ID, succeeded
}

// poll consumes with the classic call until nothing is left.
func (w *worker) poll(id int64) {
	for {
		op := w.consume(id)
		if !w.proceed(op, "a classic consumer is at the end") {
			return
		}
		if op.Code != "empty" {
			continue
		}

		if w.calledAtEnd(op) {
			return
		}
		time.Sleep(idlePause)
	}
}

// fetchWait returns how long a fetch may wait for messages.
func fetchWait() time.Duration { return time.Duration(rand.IntN(30)) * time.Millisecond }

// fetchAll fetches in mode auto until nothing is left.
func (w *worker) fetchAll(id int64) {
	for {
		op := w.fetch(id, fetchWait())
		if !w.proceed(op, "a consumer in mode auto is at the end") {
			return
		}
		w.noteSequences(op.Got)
		if op.Outcome == history.OK && len(op.Got) == 0 && w.calledAtEnd(op) {
			return
		}
	}
}

// fetchLeases fetches in mode lease until every message is acknowledged. It loses
// some of the leases on purpose.
func (w *worker) fetchLeases(id int64) {
	for {
		op := w.fetch(id, fetchWait())
		if !w.proceed(op, "a consumer in mode lease is at the end") {
			return
		}
		w.noteSequences(op.Got)
		if len(op.Got) > 0 {
			w.process(id, op)
			continue
		}

		if w.producing() {
			continue
		}
		if size := w.size(id); size.Outcome == history.OK && size.Size == 0 && w.calledAtEnd(size) {
			return
		}
	}
}

// process acknowledges what a fetch got. While messages are produced it sometimes
// gives them back, or leaves them as a worker that crashed would.
func (w *worker) process(id int64, op *history.Op) {
	tokens := make([]string, len(op.Got))
	for i, m := range op.Got {
		tokens[i] = m.Token
	}
	if !w.producing() {
		w.leaseCall(history.OpAck, id, tokens)
		return
	}

	switch rand.IntN(10) {
	case 0: // crashed before the first ack
	case 1:
		w.leaseCall(history.OpNack, id, tokens)
	case 2: // crashed after the first ack
		w.leaseCall(history.OpAck, id, tokens[:1])
	case 3:
		w.leaseCall(history.OpExtend, id, tokens)
		w.leaseCall(history.OpAck, id, tokens)
	default:
		w.leaseCall(history.OpAck, id, tokens)
	}
}

// streamAll reads streams until it has the last message of the round. It hangs up
// again and again, and continues after the last message that it got.
func (w *worker) streamAll(id int64, last uint64) {
	for {
		op := w.stream(id, last, streamBounds{
			messages: rand.IntN(40),
			time:     time.Duration(50+rand.IntN(500)) * time.Millisecond,
		})
		if !w.proceed(op, "a stream gets the last message") {
			return
		}

		for _, m := range op.Got {
			last = m.Sequence
			if strings.HasPrefix(m.Data, w.id+"."+endWorker+".") {
				return
			}
		}
		w.noteSequences(op.Got)
	}
}
