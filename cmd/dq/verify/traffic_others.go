package verify

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// bystanders are the workers that neither produce nor consume from the start.
var bystanders = []func(*round){
	func(r *round) { r.worker("observer").observe() },
	func(r *round) { r.worker("late").comeLate() },
	func(r *round) { r.worker("reader").readFromFirst() },
	func(r *round) { r.worker("prober").probe() },
	func(r *round) { r.worker("n1").registerSome() },
	func(r *round) { r.worker("n2").registerSome() },
	func(r *round) { r.worker("n3").registerSome() },
}

// some are how many operations of a kind one worker makes in a round that cost
// the broker much.
const some = 5

// observations are how many operations an observer makes at least.
const observations = 24

// observe asks for sizes and messages.
func (w *worker) observe() {
	for i := 0; (w.quiet.Load() == 0 || i < observations) && !w.stuck.Load(); i++ {
		var ids []int64
		w.known.Range(func(id, _ any) bool { ids = append(ids, id.(int64)); return true })
		var op *Op
		switch choice := i % 4; {
		case choice < 2 && len(ids) > 0:
			op = w.size(ids[rand.IntN(len(ids))])
		case choice == 2:
			op = w.browse(1+rand.Uint64N(w.highest.Load()+1), 1+rand.IntN(50), false)
			w.see(op.Got)
		default:
			op = w.get(1 + rand.Uint64N(w.highest.Load()+2))
		}
		if !w.went(op, "sizes and messages are read") {
			return
		}
		time.Sleep(idlePause)
	}
}

// comeLate registers a consumer when there are messages, and consumes when no
// more are produced.
func (w *worker) comeLate() {
	w.await(func() bool { return w.highest.Load() > 20 })
	consume := w.registered((*worker).poll)
	w.await(func() bool { return false })
	if consume != nil {
		consume()
	}
}

// readFromFirst makes a consumer that starts at the first message.
func (w *worker) readFromFirst() {
	w.await(func() bool { return w.highest.Load() > 20 })
	op, done := w.persist("a consumer is made", func() *Op { return w.createConsumer("", "auto", 0, true) })
	if done && op.Outcome == ok {
		w.known.Store(op.ID, true)
		w.fetchAll(op.ID)
	}
}

// await returns when what is there, or when nothing more is produced.
func (w *worker) await(what func() bool) {
	for w.quiet.Load() == 0 && !what() && !w.stuck.Load() {
		time.Sleep(idlePause)
	}
}

// nobody is an id that no run gets to.
const nobody = int64(1) << 40

// probe makes calls that are to be refused.
func (w *worker) probe() {
	for range some {
		op := w.op(opProbe)
		op.Name, op.Data = "producer_not_found", []string{w.next()}
		w.went(w.do(op, request{method: http.MethodPost, path: "/producer/produce",
			body: pair{"topic": w.topic, "producer_id": nobody, "message": payload(op.Data[0])}}), "probes are refused")
		op = w.op(opProbe)
		op.Name = "consumer_not_found"
		w.went(w.do(op, request{method: http.MethodGet, path: "/consumer/consume" + consumerQuery(w.topic, nobody)}), "probes are refused")
		op = w.op(opProbe)
		op.Name, op.Data = "invalid_field", []string{w.next(), w.next()}
		w.went(w.do(op, request{method: http.MethodPost, path: w.path("messages"),
			body: []pair{{"data": payload(op.Data[0])}, {"data": payload(op.Data[1]), "ttl": "1ms"}}}), "probes are refused")
		if w.quiet.Load() > 0 || w.stuck.Load() {
			return
		}
	}
}

// registerSome gets ids that nobody uses, and makes, asks for and deletes a
// topic, as others do at the same time.
func (w *worker) registerSome() {
	kinds := []string{opCreateTopic, opEnsureTopic, opDescribeTopic, opDeleteTopic}
	for i := range some {
		calls := []*Op{
			w.register(opRegisterProducer),
			w.register(opRegisterConsumer),
			w.topicCall(kinds[rand.IntN(len(kinds))], w.lifeTopic()),
			w.createConsumer(fmt.Sprintf("race%d", i/2), "auto", 0, false),
			w.describeConsumer(fmt.Sprintf("race%d", i/2)),
		}
		for _, op := range calls {
			if !w.went(op, "ids are given out") {
				return
			}
		}
	}
}
