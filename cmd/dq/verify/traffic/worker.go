package traffic

import (
	"fmt"
	"time"

	"dq/cmd/dq/verify/history"
)

const (
	retryPause = 25 * time.Millisecond // after a call that was not answered
	idlePause  = 3 * time.Millisecond  // of a worker that has nothing to do
)

// drainFactor bounds how long a round may take after its last message was
// produced: so many times the patience of the options.
const drainFactor = 3

// worker is one client in a round. It makes one call at a time.
type worker struct {
	*round
	topic      string // that its calls are about: that of the round, unless it uses another one
	name       string
	sent       int       // messages that it has named
	answeredAt time.Time // time of the last answer
}

func (w *worker) newOp(kind string) *history.Op {
	return &history.Op{Worker: w.name, Topic: w.topic, Kind: kind}
}

// newMessage returns the name of a new message of this worker.
func (w *worker) newMessage() string {
	w.sent++
	return fmt.Sprintf("%s.%s.%d", w.id, w.name, w.sent)
}

// newMessages returns the names of n new messages.
func (w *worker) newMessages(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = w.newMessage()
	}
	return names
}

// proceed reports whether the worker may go on after op. It pauses after a call
// that was not answered. When there was no answer for too long, it records that
// the goal was not reached, and the whole round gives up.
func (w *worker) proceed(op *history.Op, goal string) bool {
	patience := w.opts.Patience
	overdue := w.timeSinceProduced() > drainFactor*patience
	if answered(op) && !overdue {
		w.answeredAt = time.Now()
		return !w.gaveUp.Load()
	}

	if overdue || time.Since(w.answeredAt) > patience {
		w.giveUp(op, goal)
	}
	time.Sleep(retryPause)
	return !w.gaveUp.Load()
}

// giveUp records that the goal was not reached with op, the last operation that tried
// it, and makes the whole round give up.
func (w *worker) giveUp(op *history.Op, goal string) {
	if !w.gaveUp.Swap(true) {
		w.recordStuck(op, goal)
	}
}

func (w *worker) recordStuck(op *history.Op, goal string) {
	w.rec.Add(&history.Op{
		Worker: w.name, Topic: w.topic, Kind: history.OpStuck,
		Call: op.Call, Return: w.rec.Now(), Outcome: history.OK, Name: goal,
	})
}

// answered reports whether the effect of op is certain and repeating it would not
// help: it succeeded, or was refused for good.
func answered(op *history.Op) bool {
	return (op.Outcome == history.OK || op.Outcome == history.Refused) && !op.TurnedAway()
}

// retry makes a call until it is answered or the round gives up. It returns the
// last operation and whether that succeeded. Goal says what the call is for.
func (w *worker) retry(goal string, call func() *history.Op) (op *history.Op, succeeded bool) {
	for {
		op := call()
		if !w.proceed(op, goal) {
			return op, false
		}
		if answered(op) {
			return op, op.Outcome == history.OK
		}
	}
}

// retryUntil makes a call until that is answered and done, or the round gives up. When
// it takes longer than the patience, it records that the goal was not reached, and
// returns.
func (w *worker) retryUntil(goal string, call func() (op *history.Op, done bool)) {
	for begin := time.Now(); ; {
		op, done := call()
		if !w.proceed(op, goal) || done && answered(op) {
			return
		}
		if time.Since(begin) > w.opts.Patience {
			w.recordStuck(op, goal)
			return
		}
		time.Sleep(retryPause)
	}
}

// repeat makes n calls, one after the other, whether they are answered or not.
func (w *worker) repeat(n int, goal string, call func(i int) *history.Op) {
	for i := range n {
		if !w.proceed(call(i), goal) {
			return
		}
		time.Sleep(idlePause)
	}
}

// waitFor returns when the condition holds, when the last message was produced,
// or when the round has given up.
func (w *worker) waitFor(condition func() bool) {
	for w.producing() && !condition() && !w.gaveUp.Load() {
		time.Sleep(idlePause)
	}
}
