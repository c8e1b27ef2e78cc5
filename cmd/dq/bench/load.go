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
	Connections int           // that work at once
	Size        int           // of a message, in bytes
	Batch       int           // messages in a call, at most 1000; 1 is the classic API
	Topics      int           // that the connections are spread over
	Consumers   int           // that they are spread over
	Duration    time.Duration // of each kind of work, all rounds together
	Count       int           // messages of each kind in place of Duration, rounded up to whole calls; 0 is no count
	Rate        int           // messages a second at most; 0 is no limit
	Rounds      int           // that the kinds take turns in
	Token       string        // to show to the broker
	Progress    func()        // told of each turn that is over
}

// Check refuses what makes no sense.
func (o *Options) Check() error {
	for name, n := range map[string]int{
		"connections": o.Connections, "size": o.Size, "batch": o.Batch, "topics": o.Topics, "consumers": o.Consumers, "rounds": o.Rounds,
	} {
		if n < 1 {
			return fmt.Errorf("--%s %d: want 1 or more", name, n)
		}
	}
	for name, n := range map[string]int{"count": o.Count, "rate": o.Rate} {
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

// Work is one kind of work. Do makes one call as one of the connections, and
// returns how many messages it moved.
type Work struct {
	Name string
	Do   func(ctx context.Context, connection int) (messages int, err error)
	// Batch is how many messages a call moves, if not as many as the options say.
	Batch int
}

// Result is what a kind of work came to.
type Result struct {
	Name     string
	Messages int64
	Bytes    int64 // of messages
	Elapsed  time.Duration
	CPU      time.Duration           // of this process meanwhile; 0 if other work was done at the same time
	Latency  *hdrhistogram.Histogram // of calls that moved messages, in microseconds
}

// PerSecond is messages a second.
func (r *Result) PerSecond() float64 { return float64(r.Messages) / max(r.Elapsed.Seconds(), 1e-9) }

// The histograms go to a minute with three digits.
const (
	maxLatency = int64(time.Minute / time.Microsecond)
	digits     = 3
)

// errDone ends a turn before its time: there is nothing left to do.
var errDone = errors.New("there is nothing left")

func newResults(works []Work) []Result {
	results := make([]Result, len(works))
	for i, w := range works {
		results[i] = Result{Name: w.Name, Latency: hdrhistogram.New(1, maxLatency, digits)}
	}
	return results
}

// Measure does each kind of work in turns, and returns a result for each.
func Measure(ctx context.Context, o Options, works ...Work) ([]Result, error) {
	results := newResults(works)
	for round := range o.Rounds {
		for i, w := range works {
			before, _ := usage()
			if err := newTurn(o, w, round).run(ctx, &results[i]); err != nil {
				return nil, err
			}
			after, _ := usage()
			results[i].CPU += after - before
			if o.Progress != nil {
				o.Progress()
			}
		}
	}
	return results, nil
}

// Together does all kinds of work at the same time, each with its share of the
// connections.
func Together(ctx context.Context, o Options, works ...Work) ([]Result, error) {
	results := newResults(works)
	o.Connections, o.Rounds = max(o.Connections/len(works), 1), 1
	group, ctx := errgroup.WithContext(ctx)
	for i, w := range works {
		group.Go(func() error { return newTurn(o, w, 0).run(ctx, &results[i]) })
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
	calls    int64 // that are to be made; below 0 is no limit but length
	begin    time.Time
	begun    atomic.Int64 // calls
	messages atomic.Int64
}

func newTurn(o Options, w Work, round int) *turn {
	o.Batch = cmp.Or(w.Batch, o.Batch)
	t := &turn{o: o, work: w, length: o.Duration / time.Duration(o.Rounds), calls: -1}
	if o.Count > 0 {
		calls := (o.Count + o.Batch - 1) / o.Batch
		t.calls = int64(calls*(round+1)/o.Rounds - calls*round/o.Rounds)
	}
	return t
}

// due returns when the next call is to begin, and false if there is none to be.
func (t *turn) due() (time.Time, bool) {
	n := t.begun.Add(1) - 1
	due := time.Now()
	over := due.Sub(t.begin) >= t.length
	if t.o.Rate > 0 {
		due = t.begin.Add(time.Duration(n) * time.Duration(t.o.Batch) * time.Second / time.Duration(t.o.Rate))
		over = over || due.Sub(t.begin) >= t.length
	}
	if t.calls >= 0 {
		return due, n < t.calls
	}
	return due, !over
}

// run does the work and adds what came of it to a result.
func (t *turn) run(ctx context.Context, into *Result) error {
	t.begin = time.Now()
	// What has begun when the work is done ends by itself: only its beginning
	// looks at this context.
	going, end := context.WithCancelCause(ctx)
	defer end(nil)
	var workers errgroup.Group
	latencies := make([]*hdrhistogram.Histogram, t.o.Connections)
	for c := range t.o.Connections {
		latencies[c] = hdrhistogram.New(1, maxLatency, digits)
		workers.Go(func() error {
			err := t.connection(ctx, going, c, latencies[c])
			if err != nil {
				end(err)
			}
			if errors.Is(err, errDone) {
				return nil
			}
			return err
		})
	}
	err := workers.Wait()
	into.Elapsed += time.Since(t.begin)
	into.Messages += t.messages.Load()
	into.Bytes += t.messages.Load() * int64(t.o.Size)
	for _, l := range latencies {
		into.Latency.Merge(l)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.work.Name, err)
	}
	return ctx.Err()
}

// connection makes calls until the turn is over. With a rate, a call's latency
// counts from when it was due, not from when it could begin: a broker that stalls
// makes those late that come after, too.
func (t *turn) connection(ctx, going context.Context, c int, latencies *hdrhistogram.Histogram) error {
	for {
		due, more := t.due()
		if !more || !sleepUntil(going, due) {
			return nil
		}
		n, err := t.work.Do(ctx, c)
		if err != nil {
			return err
		}
		t.messages.Add(int64(n))
		if n > 0 {
			_ = latencies.RecordValue(min(time.Since(due).Microseconds(), maxLatency))
		}
	}
}

// sleepUntil returns at that time, or false as soon as ctx ends.
func sleepUntil(ctx context.Context, due time.Time) bool {
	if wait := time.Until(due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}
