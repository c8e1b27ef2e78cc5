package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"dq/cmd/dq/verify/history"
)

// bystanders are the workers that neither produce nor consume from the start.
var bystanders = []func(*round){
	func(r *round) { r.worker("observer").observe() },
	func(r *round) { r.worker("late").registerLate() },
	func(r *round) { r.worker("reader").readFromFirst() },
	func(r *round) { r.worker("prober").probe() },
	func(r *round) { r.worker("n1").race() },
	func(r *round) { r.worker("n2").race() },
	func(r *round) { r.worker("n3").race() },
}

const (
	// repetitions is how often a worker in a round makes calls that cost the broker
	// much.
	repetitions = 5

	// observations is the least number of calls of an observer.
	observations = 24

	// lateSequence is the sequence after which late consumers are registered.
	lateSequence = 20
)

// observe asks for sizes of consumers, and reads messages by sequence.
func (w *worker) observe() {
	for i := 0; (w.producing() || i < observations) && !w.gaveUp.Load(); i++ {
		if !w.proceed(w.observation(i), "sizes and messages are read") {
			return
		}
		time.Sleep(idlePause)
	}
}

func (w *worker) observation(i int) *history.Op {
	id, found := w.randomConsumer()
	switch choice := i % 4; {
	case choice < 2 && found:
		return w.size(id)
	case choice == 2:
		op := w.browse(browseOptions{from: 1 + rand.Uint64N(w.highest.Load()+1), limit: 1 + rand.IntN(50)})
		w.noteSequences(op.Got)
		return op
	}
	return w.get(1 + rand.Uint64N(w.highest.Load()+2))
}

// randomConsumer returns the id of any consumer of the round, if it has one.
func (r *round) randomConsumer() (id int64, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()

	if len(r.consumers) == 0 {
		return 0, false
	}
	return r.consumers[rand.IntN(len(r.consumers))], true
}

// registerLate registers a consumer while messages are produced, and consumes
// when no more are.
func (w *worker) registerLate() {
	w.waitFor(func() bool { return w.highest.Load() > lateSequence })
	id, registered := w.newConsumer()
	w.waitFor(func() bool { return false })
	if registered {
		w.poll(id)
	}
}

// readFromFirst creates a consumer that starts at the first message while messages
// are produced.
func (w *worker) readFromFirst() {
	w.waitFor(func() bool { return w.highest.Load() > lateSequence })
	if id, created := w.addNewConsumer(consumerSpec{mode: modeAuto, first: true}); created {
		w.fetchAll(id)
	}
}

// unusedID is an id that no run reaches.
const unusedID = int64(1) << 40

// probe makes calls that must be refused.
func (w *worker) probe() {
	for range repetitions {
		for _, op := range []*history.Op{w.probeProducer(), w.probeConsumer(), w.probeBatch()} {
			w.proceed(op, "invalid calls are refused")
		}
		if !w.producing() || w.gaveUp.Load() {
			return
		}
	}
}

// newProbe returns an operation that must be refused with that error code.
func (w *worker) newProbe(code string, messages ...string) *history.Op {
	op := w.newOp(history.OpProbe)
	op.Name, op.Data = code, messages
	return op
}

// probeProducer produces with an id that no producer has.
func (w *worker) probeProducer() *history.Op {
	name := w.newMessage()
	return w.do(w.newProbe("producer_not_found", name), produceRequest(w.topic, unusedID, name))
}

// probeConsumer consumes with an id that no consumer has.
func (w *worker) probeConsumer() *history.Op {
	return w.do(w.newProbe("consumer_not_found"), request{
		method: http.MethodGet, path: "/consumer/consume" + classicQuery(w.topic, unusedID),
	})
}

// probeBatch appends a batch whose second message is invalid.
func (w *worker) probeBatch() *history.Op {
	names := w.newMessages(2)
	return w.do(w.newProbe("invalid_field", names...), request{
		method: http.MethodPost, path: topicPath(w.topic, "messages"), body: []fields{
			{"data": history.Payload(names[0])},
			{"data": history.Payload(names[1]), "ttl": "1ms"},
		},
	})
}

// race registers ids that nobody uses, and creates, reads and deletes the churn
// topic and consumers with a name, as other workers do at the same time.
func (w *worker) race() {
	kinds := []string{history.OpCreateTopic, history.OpEnsureTopic, history.OpDescribeTopic, history.OpDeleteTopic}
	for i := range repetitions {
		name := fmt.Sprintf("race%d", i/2)
		ops := []*history.Op{
			w.registerProducer(),
			w.registerConsumer(),
			w.topicCall(kinds[rand.IntN(len(kinds))], w.churnTopic()),
			w.createConsumer(consumerSpec{name: name, mode: modeAuto}),
			w.describeConsumer(name),
		}
		for _, op := range ops {
			if !w.proceed(op, "ids are given out") {
				return
			}
		}
	}
}
