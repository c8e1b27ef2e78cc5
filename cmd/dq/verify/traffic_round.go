package verify

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// roundMessages is how many messages the producers of a round send unless the
	// options say otherwise.
	roundMessages = 400

	// The pauses of a client whose call was not answered, and of one that found
	// nothing to do.
	retryPause = 25 * time.Millisecond
	idlePause  = 3 * time.Millisecond

	// drainTime is how much longer than a call may go unanswered a round may take
	// to drain.
	drainTime = 2
)

// A round is traffic on topics of its own.
type round struct {
	*caller
	topic    string
	id       string          // what all messages of the round start with
	traffic  context.Context // the producers stop when it ends
	messages int             // that the producers send
	patience func() time.Duration

	left    atomic.Int64  // messages to send
	highest atomic.Uint64 // sequence that was seen
	quiet   atomic.Int64  // when all was produced; 0 before
	stuck   atomic.Bool   // something did not come about, so nothing more is tried
	known   sync.Map      // ids of consumers
}

// lifeTopic is a topic of the round that is made and deleted again and again.
func (r *round) lifeTopic() string { return r.topic + lifeSuffix }

const lifeSuffix = "-x"

func (r *round) worker(name string) *worker {
	return &worker{round: r, name: name, answeredAt: time.Now()}
}

// drive makes the traffic of the round, and returns when its topics are drained,
// replayed and, unless they are to be kept, deleted.
func (r *round) drive(keep bool) {
	r.left.Store(int64(r.messages))
	var setUp group
	for i := range 3 {
		setUp.run(func() { r.worker(fmt.Sprintf("maker%d", i)).makeTopic(i) })
	}
	setUp.Wait()
	starts := make([]func(), len(consumers))
	for i, register := range consumers {
		setUp.run(func() { starts[i] = register(r) })
	}
	setUp.Wait()

	var producing, others group
	for _, start := range starts {
		others.run(start)
	}
	for _, start := range bystanders {
		others.run(func() { start(r) })
	}
	for _, produce := range producers {
		producing.run(func() { produce(r) })
	}
	producing.Wait()
	r.worker("end").produceEnd()
	r.quiet.Store(r.rec.now())
	others.Wait()
	r.worker("replay").replay()
	if !keep {
		w := r.worker("deleter")
		for _, topic := range []string{r.topic, r.lifeTopic()} {
			w.persist("the topic is deleted", func() *Op { return w.topicCall(opDeleteTopic, topic) })
		}
	}
	for _, topic := range []string{r.topic, r.lifeTopic()} {
		now := r.rec.now()
		r.rec.add(&Op{Kind: opEnd, Topic: topic, Call: now, Return: now, Outcome: ok})
	}
}

// more reports whether a producer is to send n more messages.
func (r *round) more(n int) bool {
	return r.traffic.Err() == nil && !r.stuck.Load() && r.left.Add(int64(-n)) >= 0
}

// drained reports whether op was called when all had been produced.
func (r *round) drained(op *Op) bool {
	quiet := r.quiet.Load()
	return quiet > 0 && op.Call > quiet
}

// see takes note of the sequences of messages.
func (r *round) see(messages []Message) {
	for _, m := range messages {
		for {
			old := r.highest.Load()
			if m.Sequence <= old || r.highest.CompareAndSwap(old, m.Sequence) {
				break
			}
		}
	}
}

// went reports whether the worker is to go on after op. It pauses after one that
// was not answered, and gives up when that has been so for too long.
func (w *worker) went(op *Op, what string) bool {
	patience := w.patience()
	overdue := w.quiet.Load() > 0 && time.Duration(w.rec.now()-w.quiet.Load()) > (1+drainTime)*patience
	if answered(op) && !overdue {
		w.answeredAt = time.Now()
		return !w.stuck.Load()
	}
	if (overdue || time.Since(w.answeredAt) > patience) && !w.stuck.Swap(true) {
		w.rec.add(&Op{Worker: w.name, Topic: w.topic, Kind: opStuck, Call: op.Call, Return: w.rec.now(), Outcome: ok, Name: what})
	}
	time.Sleep(retryPause)
	return !w.stuck.Load()
}

// answered reports whether it is known what came of op.
func answered(op *Op) bool {
	return (op.Outcome == ok || op.Outcome == refused) && !turnedAway(op)
}

// persist makes a call until it is answered, and reports whether it was.
func (w *worker) persist(what string, call func() *Op) (*Op, bool) {
	for {
		op := call()
		if !w.went(op, what) {
			return op, false
		}
		if answered(op) {
			return op, true
		}
	}
}

// makeTopic makes the topic of the round, as others do at the same time.
func (w *worker) makeTopic(i int) {
	kind := opCreateTopic
	if i%2 == 1 {
		kind = opEnsureTopic
	}
	w.persist("the topic is made", func() *Op { return w.topicCall(kind, w.topic) })
}

// replayPage is how many messages one call of the replay asks for.
const replayPage = 1000

// replay reads all messages of the topic.
func (w *worker) replay() {
	for from := uint64(1); ; {
		op, done := w.persist("the topic is replayed", func() *Op { return w.browse(from, replayPage, true) })
		if !done || len(op.Got) == 0 {
			return
		}
		from = op.Got[len(op.Got)-1].Sequence + 1
	}
}

// group is goroutines whose end is awaited.
type group struct{ sync.WaitGroup }

func (g *group) run(do func()) {
	if do != nil {
		g.Go(do)
	}
}
