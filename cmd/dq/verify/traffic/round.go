package traffic

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"dq/cmd/dq/verify/history"
)

const (
	// roundMessages is how many messages the producers of a round send unless the
	// options say otherwise.
	RoundMessages = 400

	// drainTime is how much longer than a call may go unanswered a round may take
	// to drain.
	drainTime = 2
)

// A round is traffic on topics of its own.
type Round struct {
	*Caller
	Topic    string
	Id       string          // what all messages of the round start with
	Traffic  context.Context // the producers stop when it ends
	Messages int             // that the producers send
	Patience func() time.Duration

	left    atomic.Int64  // messages to send
	highest atomic.Uint64 // sequence that was seen
	quiet   atomic.Int64  // when all was produced; 0 before
	Stuck   atomic.Bool   // something did not come about, so nothing more is tried
	known   sync.Map      // ids of consumers
}

// lifeTopic is a topic of the round that is made and deleted again and again.
func (r *Round) LifeTopic() string { return r.Topic + LifeSuffix }

const LifeSuffix = "-x"

func (r *Round) Worker(name string) *worker {
	return &worker{Round: r, name: name, answeredAt: time.Now()}
}

// drive makes the traffic of the round, and returns when its topics are drained,
// replayed and, unless they are to be kept, deleted.
func (r *Round) Drive(keep bool) {
	r.left.Store(int64(r.Messages))
	var setUp Group
	for i := range 3 {
		setUp.Run(func() { r.Worker(fmt.Sprintf("maker%d", i)).makeTopic(i) })
	}
	setUp.Wait()
	starts := make([]func(), len(consumers))
	for i, register := range consumers {
		setUp.Run(func() { starts[i] = register(r) })
	}
	setUp.Wait()

	var producing, others Group
	for _, start := range starts {
		others.Run(start)
	}
	for _, start := range bystanders {
		others.Run(func() { start(r) })
	}
	for _, produce := range producers {
		producing.Run(func() { produce(r) })
	}
	producing.Wait()
	r.Worker("end").produceEnd()
	r.quiet.Store(r.Rec.Now())
	others.Wait()
	r.Worker("replay").replay()
	if !keep {
		w := r.Worker("deleter")
		for _, topic := range []string{r.Topic, r.LifeTopic()} {
			w.Persist("the topic is deleted", func() *history.Op { return w.TopicCall(history.OpDeleteTopic, topic) })
		}
	}
	for _, topic := range []string{r.Topic, r.LifeTopic()} {
		now := r.Rec.Now()
		r.Rec.Add(&history.Op{Kind: history.OpEnd, Topic: topic, Call: now, Return: now, Outcome: history.OK})
	}
}

// more reports whether a producer is to send n more messages.
func (r *Round) more(n int) bool {
	return r.Traffic.Err() == nil && !r.Stuck.Load() && r.left.Add(int64(-n)) >= 0
}

// drained reports whether op was called when all had been produced.
func (r *Round) drained(op *history.Op) bool {
	quiet := r.quiet.Load()
	return quiet > 0 && op.Call > quiet
}

// see takes note of the sequences of messages.
func (r *Round) see(messages []history.Message) {
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
func (w *worker) went(op *history.Op, what string) bool {
	patience := w.Patience()
	overdue := w.quiet.Load() > 0 && time.Duration(w.Rec.Now()-w.quiet.Load()) > (1+drainTime)*patience
	if answered(op) && !overdue {
		w.answeredAt = time.Now()
		return !w.Stuck.Load()
	}
	if (overdue || time.Since(w.answeredAt) > patience) && !w.Stuck.Swap(true) {
		w.Rec.Add(&history.Op{Worker: w.name, Topic: w.Topic, Kind: history.OpStuck, Call: op.Call, Return: w.Rec.Now(), Outcome: history.OK, Name: what})
	}
	time.Sleep(history.RetryPause)
	return !w.Stuck.Load()
}

// answered reports whether it is known what came of op.
func answered(op *history.Op) bool {
	return (op.Outcome == history.OK || op.Outcome == history.Refused) && !history.TurnedAway(op)
}

// persist makes a call until it is answered, and reports whether it was.
func (w *worker) Persist(what string, call func() *history.Op) (*history.Op, bool) {
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
	kind := history.OpCreateTopic
	if i%2 == 1 {
		kind = history.OpEnsureTopic
	}
	w.Persist("the topic is made", func() *history.Op { return w.TopicCall(kind, w.Topic) })
}

// replayPage is how many messages one call of the replay asks for.
const replayPage = 1000

// replay reads all messages of the topic.
func (w *worker) replay() {
	for from := uint64(1); ; {
		op, done := w.Persist("the topic is replayed", func() *history.Op { return w.browse(from, replayPage, true) })
		if !done || len(op.Got) == 0 {
			return
		}
		from = op.Got[len(op.Got)-1].Sequence + 1
	}
}

// group is goroutines whose end is awaited.
type Group struct{ sync.WaitGroup }

func (g *Group) Run(do func()) {
	if do != nil {
		g.Go(do)
	}
}
