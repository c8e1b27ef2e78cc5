package traffic

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"dq/cmd/dq/verify/history"
)

// bystanders are the workers that neither produce nor consume from the start.
var bystanders = []func(*Round){
	func(r *Round) { r.Worker("observer").observe() },
	func(r *Round) { r.Worker("late").comeLate() },
	func(r *Round) { r.Worker("reader").readFromFirst() },
	func(r *Round) { r.Worker("prober").probe() },
	func(r *Round) { r.Worker("n1").registerSome() },
	func(r *Round) { r.Worker("n2").registerSome() },
	func(r *Round) { r.Worker("n3").registerSome() },
}

// some are how many operations of a kind one worker makes in a round that cost
// the broker much.
const some = 5

// observations are how many operations an observer makes at least.
const observations = 24

// observe asks for sizes and messages.
func (w *worker) observe() {
	for i := 0; (w.quiet.Load() == 0 || i < observations) && !w.Stuck.Load(); i++ {
		var ids []int64
		w.known.Range(func(id, _ any) bool { ids = append(ids, id.(int64)); return true })
		var op *history.Op
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
		time.Sleep(history.IdlePause)
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
	op, done := w.Persist("a consumer is made", func() *history.Op { return w.createConsumer("", "auto", 0, true) })
	if done && op.Outcome == history.OK {
		w.known.Store(op.ID, true)
		w.fetchAll(op.ID)
	}
}

// await returns when what is there, or when nothing more is produced.
func (w *worker) await(what func() bool) {
	for w.quiet.Load() == 0 && !what() && !w.Stuck.Load() {
		time.Sleep(history.IdlePause)
	}
}

// nobody is an id that no run gets to.
const nobody = int64(1) << 40

// probe makes calls that are to be refused.
func (w *worker) probe() {
	for range some {
		op := w.Op(history.OpProbe)
		op.Name, op.Data = "producer_not_found", []string{w.next()}
		w.went(w.Do(op, Request{Method: http.MethodPost, Path: "/producer/produce",
			body: pair{"topic": w.Topic, "producer_id": nobody, "message": history.Payload(op.Data[0])}}), "probes are refused")
		op = w.Op(history.OpProbe)
		op.Name = "consumer_not_found"
		w.went(w.Do(op, Request{Method: http.MethodGet, Path: "/consumer/consume" + consumerQuery(w.Topic, nobody)}), "probes are refused")
		op = w.Op(history.OpProbe)
		op.Name, op.Data = "invalid_field", []string{w.next(), w.next()}
		w.went(w.Do(op, Request{Method: http.MethodPost, Path: w.path("messages"),
			body: []pair{{"data": history.Payload(op.Data[0])}, {"data": history.Payload(op.Data[1]), "ttl": "1ms"}}}), "probes are refused")
		if w.quiet.Load() > 0 || w.Stuck.Load() {
			return
		}
	}
}

// registerSome gets ids that nobody uses, and makes, asks for and deletes a
// topic, as others do at the same time.
func (w *worker) registerSome() {
	kinds := []string{history.OpCreateTopic, history.OpEnsureTopic, history.OpDescribeTopic, history.OpDeleteTopic}
	for i := range some {
		calls := []*history.Op{
			w.register(history.OpRegisterProducer),
			w.register(history.OpRegisterConsumer),
			w.TopicCall(kinds[rand.IntN(len(kinds))], w.LifeTopic()),
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
