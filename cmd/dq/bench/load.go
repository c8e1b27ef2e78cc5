package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// Options say what to measure.
type Options struct {
	Connections int           // how many work at once
	Size        int           // of a message, in bytes
	Batch       int           // messages in a call, at most 1000; 1 uses the classic API
	Topics      int           // over which the connections are spread
	Consumers   int           // over which the connections are spread
	InFlight    int           // messages of each work queue that nobody acknowledges
	Duration    time.Duration // of each kind of work, all rounds together
	Count       int           // messages of each kind instead of Duration, rounded up to whole calls; 0: use Duration
	Rate        int           // messages a second at most; 0: no limit
	Rounds      int           // in which the kinds take turns
	Token       string        // sent to the broker; "": none
	Progress    func()        // called after each turn; nil: not called
}

// Check refuses options that make no sense. Its errors name the flag of the option.
func (o *Options) Check() error {
	for name, n := range map[string]int{
		"connections": o.Connections, "size": o.Size, "batch": o.Batch,
		"topics": o.Topics, "consumers": o.Consumers, "rounds": o.Rounds,
	} {
		if n < 1 {
			return fmt.Errorf("--%s %d: want 1 or more", name, n)
		}
	}
	for name, n := range map[string]int{"count": o.Count, "rate": o.Rate, "in-flight": o.InFlight} {
		if n < 0 {
			return fmt.Errorf("--%s %d: want 0 or more", name, n)
		}
	}

	if o.Duration <= 0 {
		return fmt.Errorf("--duration %s: want more than 0s", o.Duration)
	}
	if o.Batch > 1000 {
		return fmt.Errorf("--batch %d: want at most 1000", o.Batch)
	}
	return nil
}

// Work is one kind of work. Do makes one call as one of the connections, and returns
// how many messages it moved.
type Work struct {
	Name string
	Do   func(ctx context.Context, connection int) (messages int, err error)
	// Batch is how many messages a call moves; 0 means as many as the options say.
	Batch int
}

// Result says how much of a kind of work was done.
type Result struct {
	Name     string
	Messages int64
	Bytes    int64 // of messages
	Elapsed  time.Duration
	CPU      time.Duration           // of this process; 0 if other work ran at the same time
	Latency  *hdrhistogram.Histogram // of calls that moved messages, in microseconds
}

// PerSecond returns the messages a second.
func (r *Result) PerSecond() float64 { return float64(r.Messages) / max(r.Elapsed.Seconds(), 1e-9) }

// add adds the result of another turn of the same work.
func (r *Result) add(turn Result) {
	r.Messages += turn.Messages
	r.Bytes += turn.Bytes
	r.Elapsed += turn.Elapsed
	r.CPU += turn.CPU
	r.Latency.Merge(turn.Latency)
}

// newHistogram makes a histogram of up to a minute, with a precision of three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency, 3) }

const maxLatency = int64(time.Minute / time.Microsecond)

// errRoundOver ends a turn before its time, because nothing is left to do.
var errRoundOver = errors.New("no message is left")

// Measure does the kinds of work in turns, and returns a result for each.
func Measure(ctx context.Context, o Options, works ...Work) ([]Result, error) {
	results := make([]Result, len(works))
	for i, w := range works {
		results[i] = Result{Name: w.Name, Latency: newHistogram()}
	}

	for round := range o.Rounds {
		for i, w := range works {
			before, _ := usage()
			result, err := newTurn(o, w, round).run(ctx)
			if err != nil {
				return nil, err
			}
			after, _ := usage()

			result.CPU = after - before
			results[i].add(result)
			if o.Progress != nil {
				o.Progress()
			}
		}
	}
	return results, nil
}

// MeasureTogether does all kinds of work at the same time, each with its share of the
// connections, and returns a result for each.
func MeasureTogether(ctx context.Context, o Options, works ...Work) ([]Result, error) {
	o.Connections, o.Rounds = max(o.Connections/len(works), 1), 1
	results := make([]Result, len(works))
	group, ctx := errgroup.WithContext(ctx)
	for i, w := range works {
		group.Go(func() (err error) {
			results[i], err = newTurn(o, w, 0).run(ctx)
			return err
		})
	}

	err := group.Wait()
	if o.Progress != nil {
		o.Progress()
	}
	return results, err
}

// turn is one kind of work for the time of one round.
type turn struct {
	o        Options
	work     Work
	length   time.Duration
	calls    int64 // to make, if the options have a count
	begin    time.Time
	begun    atomic.Int64 // calls
	messages atomic.Int64
}

func newTurn(o Options, w Work, round int) *turn {
	o.Batch = cmp.Or(w.Batch, o.Batch)
	t := &turn{o: o, work: w, length: o.Duration / time.Duration(o.Rounds)}
	if o.Count > 0 {
		calls := (o.Count + o.Batch - 1) / o.Batch
		t.calls = int64(calls*(round+1)/o.Rounds - calls*round/o.Rounds)
	}
	return t
}

// nextCall returns when the next call is to begin. It reports false if the turn has no
// more calls.
func (t *turn) nextCall() (due time.Time, more bool) {
	n := t.begun.Add(1) - 1
	due = time.Now()
	over := due.Sub(t.begin) >= t.length
	if t.o.Rate > 0 {
		due = t.begin.Add(time.Duration(n) * time.Duration(t.o.Batch) * time.Second / time.Duration(t.o.Rate))
		over = over || due.Sub(t.begin) >= t.length
	}

	if t.o.Count > 0 {
		return due, n < t.calls
	}
	return due, !over
}

// run does the work of the turn.
func (t *turn) run(ctx context.Context) (Result, error) {
	result := Result{Name: t.work.Name, Latency: newHistogram()}
	t.begin = time.Now()

	// Calls that have begun finish when the turn ends: only the start of a call looks at
	// this context.
	open, end := context.WithCancelCause(ctx)
	defer end(nil)

	var workers errgroup.Group
	latencies := make([]*hdrhistogram.Histogram, t.o.Connections)
	for c := range t.o.Connections {
		latencies[c] = newHistogram()
		workers.Go(func() error {
			err := t.makeCalls(ctx, open, c, latencies[c])
			if err != nil {
				end(err)
			}
			if errors.Is(err, errRoundOver) {
				return nil
			}
			return err
		})
	}
	err := workers.Wait()

	result.Elapsed = time.Since(t.begin)
	result.Messages = t.messages.Load()
	result.Bytes = result.Messages * int64(t.o.Size)
	for _, l := range latencies {
		result.Latency.Merge(l)
	}
	if err != nil {
		return result, fmt.Errorf("%s: %w", t.work.Name, err)
	}
	return result, ctx.Err()
}

// makeCalls makes the calls of one connection until the turn is over. With a rate, a
// latency counts from when the call was due, not from when it could begin: a broker that
// stalls delays the later calls, too.
func (t *turn) makeCalls(ctx, open context.Context, connection int, latencies *hdrhistogram.Histogram) error {
	for {
		due, more := t.nextCall()
		if !more || !sleepUntil(open, due) {
			return nil
		}

		n, err := t.work.Do(ctx, connection)
		if err != nil {
			return err
		}

		t.messages.Add(int64(n))
		if n > 0 {
			_ = latencies.RecordValue(min(time.Since(due).Microseconds(), maxLatency))
		}
	}
}

// sleepUntil returns at that time. It returns early, with false, if ctx ends.
func sleepUntil(ctx context.Context, due time.Time) bool {
	if wait := time.Until(due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}
