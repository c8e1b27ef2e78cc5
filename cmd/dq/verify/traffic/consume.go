package traffic

import (
	"math/rand/v2"
	"strings"
	"time"

	"dq/cmd/dq/verify/history"
)

// consumers are the consumers of a round that are registered before anything is
// produced. Each registers itself and returns what it is to do then.
var consumers = []func(*Round) func(){
	func(r *Round) func() { return r.Worker("c1").registered((*worker).poll) },
	func(r *Round) func() {
		return r.Worker("c2").registered(func(w *worker, id int64) {
			var both Group
			both.Run(func() { w.poll(id) })
			both.Run(func() { r.Worker("c2b").poll(id) })
			both.Wait()
		})
	},
	func(r *Round) func() { return r.Worker("auto").created("auto", 0, (*worker).fetchAll) },
	func(r *Round) func() {
		return r.Worker("lease").created("lease", 500*time.Millisecond, (*worker).lease)
	},
	sharedLease,
	func(r *Round) func() { return r.Worker("stream").created("stream", 0, nil) },
}

// registered makes a classic consumer, and returns consume for it.
func (w *worker) registered(consume func(*worker, int64)) func() {
	op, done := w.Persist("a consumer is registered", func() *history.Op { return w.register(history.OpRegisterConsumer) })
	if !done || op.Outcome != history.OK {
		return nil
	}
	w.known.Store(op.ID, true)
	return func() { consume(w, op.ID) }
}

// created makes a consumer without a name, and returns consume for it. Mode
// stream is auto, consumed with streams.
func (w *worker) created(mode string, lease time.Duration, consume func(*worker, int64)) func() {
	op, done := w.Persist("a consumer is made", func() *history.Op { return w.createConsumer("", mode, lease, false) })
	if !done || op.Outcome != history.OK {
		return nil
	}
	if mode == "stream" {
		return func() { w.streamAll(op.ID, op.From) }
	}
	w.known.Store(op.ID, true)
	return func() { consume(w, op.ID) }
}

// sharedLease is three workers who share a consumer by its name.
func sharedLease(r *Round) func() {
	var making Group
	starts := make([]func(), 3)
	for i, name := range []string{"s1", "s2", "s3"} {
		making.Run(func() {
			w := r.Worker(name)
			op, done := w.Persist("a consumer with a name is made", func() *history.Op {
				return w.createConsumer("shared", "lease", 700*time.Millisecond, true)
			})
			if done && op.Outcome == history.OK {
				w.known.Store(op.ID, true)
				starts[i] = func() { w.lease(op.ID) }
			}
		})
	}
	making.Wait()
	return func() {
		var working Group
		for _, start := range starts {
			working.Run(start)
		}
		working.Wait()
	}
}

// poll consumes with the classic call until nothing is left.
func (w *worker) poll(id int64) {
	for {
		op := w.consume(id)
		if !w.went(op, "a classic consumer is at the end") {
			return
		}
		if op.Code == "empty" {
			if w.drained(op) {
				return
			}
			time.Sleep(history.IdlePause)
		}
	}
}

// fetchAll consumes with fetch in mode auto until nothing is left.
func (w *worker) fetchAll(id int64) {
	for {
		op := w.fetch(id, time.Duration(rand.IntN(30))*time.Millisecond)
		if !w.went(op, "a consumer in mode auto is at the end") {
			return
		}
		w.see(op.Got)
		if op.Outcome == history.OK && len(op.Got) == 0 && w.drained(op) {
			return
		}
	}
}

// lease consumes in mode lease until every message is acknowledged. It loses
// some of the leases on purpose.
func (w *worker) lease(id int64) {
	for {
		op := w.fetch(id, time.Duration(rand.IntN(30))*time.Millisecond)
		if !w.went(op, "a consumer in mode lease is at the end") {
			return
		}
		w.see(op.Got)
		if len(op.Got) > 0 {
			w.work(id, op)
			continue
		}
		if w.quiet.Load() == 0 {
			continue
		}
		if left := w.size(id); left.Outcome == history.OK && left.Size == 0 && w.drained(left) {
			return
		}
	}
}

// work settles what a fetch got, or does not.
func (w *worker) work(id int64, op *history.Op) {
	tokens := make([]string, len(op.Got))
	for i, m := range op.Got {
		tokens[i] = m.Token
	}
	choice := rand.IntN(10)
	if w.quiet.Load() > 0 {
		choice = 9
	}
	switch choice {
	case 0: // a worker that died
	case 1:
		w.settle(history.OpNack, id, tokens)
	case 2:
		w.settle(history.OpAck, id, tokens[:1]) // and died
	case 3:
		w.settle(history.OpExtend, id, tokens)
		w.settle(history.OpAck, id, tokens)
	default:
		w.settle(history.OpAck, id, tokens)
	}
}

// streamAll consumes with streams until it has the last message. Again and again
// it hangs up, and goes on behind the last message that it got.
func (w *worker) streamAll(id int64, last uint64) {
	for {
		op := w.stream(id, last, rand.IntN(40), time.Duration(50+rand.IntN(500))*time.Millisecond)
		if !w.went(op, "a stream gets the last message") {
			return
		}
		for _, m := range op.Got {
			last = m.Sequence
			if strings.HasPrefix(m.Data, w.Id+".end.") {
				return
			}
		}
		w.see(op.Got)
	}
}
