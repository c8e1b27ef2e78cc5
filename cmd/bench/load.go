package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Options say what to measure.
type Options struct {
	Connections int           // that work at once
	Size        int           // of a message, in bytes
	Batch       int           // messages in a call; 1 is the classic API
	Topics      int           // that the connections are spread over
	Consumers   int           // that they are spread over
	Duration    time.Duration // of each kind of work, all rounds together
	Rate        int           // messages a second at most; 0 is no limit
	Rounds      int           // that the kinds take turns in
	// Progress is told of each second's worth of work that is done.
	Progress func(time.Duration)
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
}

// Result is what a kind of work came to.
type Result struct {
	Name     string
	Messages int64
	Bytes    int64 // of messages
	Elapsed  time.Duration
	Latency  *hdrhistogram.Histogram // of calls, in microseconds
}

// PerSecond is messages a second.
func (r *Result) PerSecond() float64 { return float64(r.Messages) / r.Elapsed.Seconds() }

// The histograms go to a minute with three digits.
const (
	maxLatency = int64(time.Minute / time.Microsecond)
	digits     = 3
)

// errDone ends a kind of work before its time: there is nothing left to do.
var errDone = errors.New("there is nothing left")

// Measure does each kind of work in turns, and returns a result for each.
func Measure(ctx context.Context, o Options, works ...Work) ([]Result, error) {
	results := make([]Result, len(works))
	for i, w := range works {
		results[i] = Result{Name: w.Name, Latency: hdrhistogram.New(1, maxLatency, digits)}
	}
	slice := o.Duration / time.Duration(o.Rounds)
	for range o.Rounds {
		for i, w := range works {
			if err := measureSlice(ctx, o, w, slice, &results[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", w.Name, err)
			}
			if o.Progress != nil {
				o.Progress(slice)
			}
		}
	}
	return results, nil
}

func measureSlice(ctx context.Context, o Options, w Work, slice time.Duration, into *Result) error {
	begin := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var messages atomic.Int64
	var workers sync.WaitGroup
	latencies := make([]*hdrhistogram.Histogram, o.Connections)
	for c := range o.Connections {
		latencies[c] = hdrhistogram.New(1, maxLatency, digits)
		workers.Go(func() {
			for time.Since(begin) < slice && ctx.Err() == nil {
				start := time.Now()
				n, err := w.Do(ctx, c)
				if err != nil {
					cancel(err)
					return
				}
				_ = latencies[c].RecordValue(min(time.Since(start).Microseconds(), maxLatency))
				o.pace(begin, messages.Add(int64(n)))
			}
		})
	}
	workers.Wait()
	into.Elapsed += time.Since(begin)
	into.Messages += messages.Load()
	into.Bytes += messages.Load() * int64(o.Size)
	for _, l := range latencies {
		into.Latency.Merge(l)
	}
	if err := context.Cause(ctx); err != nil && !errors.Is(err, errDone) {
		return err
	}
	return nil
}

// pace waits until it is time for the next message at the rate asked for.
func (o *Options) pace(begin time.Time, done int64) {
	if o.Rate > 0 {
		time.Sleep(time.Until(begin.Add(time.Duration(done) * time.Second / time.Duration(o.Rate))))
	}
}
