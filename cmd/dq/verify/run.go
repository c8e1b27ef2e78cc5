package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"

	"dq/cmd/dq/verify/check"
	"dq/cmd/dq/verify/fault"
	"dq/cmd/dq/verify/history"
	"dq/cmd/dq/verify/traffic"
)

// Options say what a run does.
type Options struct {
	URLs     []string      // base URLs of the brokers of one deployment
	Token    string        // bearer token; "" sends none
	Duration time.Duration // how long traffic is made; 0 means no limit
	Count    int64         // number of operations after which no round begins; 0 means no limit
	Clients  int           // clients that call at the same time, in groups of [ClientsPerRound]
	Messages int           // messages that the main scene of a round sends; 0 means 400
	Scenes   []string      // names of the scenes of a round; none means all
	Timeout  time.Duration // how long a client waits for an answer
	Patience time.Duration // how long a client may go without any answer before that is a violation
	HangUp   bool          // now and then a client hangs up before the answer
	Shared   bool          // others use the deployment at the same time
	Keep     bool          // the topics are not deleted

	History io.Writer // gets every operation as a line of JSON; nil for none
	Failed  io.Writer // gets the history of each topic with a violation; nil for none

	// Progress is called five times a second, from one goroutine; nil for never.
	Progress func(operations int64, elapsed time.Duration)
}

// ClientsPerRound is about how many clients the traffic of one round has.
const ClientsPerRound = 20

// run is one run of traffic and checks.
type run struct {
	opts    Options
	rec     *history.Recorder
	client  *traffic.Client
	prefix  string         // of the names of its topics
	breaker *fault.Breaker // nil: no broker is broken

	rounds atomic.Int64
	mu     sync.Mutex
	found  *check.Findings
	ids    check.IDs
}

// Run makes traffic until ctx ends, or the duration or the count of the options is
// reached, and checks all of it. It returns a result also with an error, which says
// that topics are left or the history was not written.
func Run(ctx context.Context, opts Options) (*Result, error) {
	return newRun(opts).do(ctx)
}

// RunSelf makes a run with brokers of its own, which it breaks with the named
// faults while it makes traffic. Log gets the output of the brokers. The URLs of
// the options do not matter. It returns no result when a fault cannot be made, or a
// broker does not start.
func RunSelf(
	ctx context.Context, opts Options, deployment fault.Deployment, faults []string, log io.Writer,
) (result *Result, err error) {
	breaker, err := fault.Start(deployment, faults, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, breaker.Close()) }()

	opts.URLs = breaker.URLs()
	r := newRun(opts)
	r.breaker = breaker
	return r.do(ctx)
}

func newRun(opts Options) *run {
	rec := history.NewRecorder(opts.History)

	return &run{
		opts: opts,
		rec:  rec,
		client: traffic.NewClient(traffic.Options{
			URLs:     opts.URLs,
			Token:    opts.Token,
			Timeout:  opts.Timeout,
			Patience: opts.Patience,
			HangUp:   opts.HangUp,
			Messages: opts.Messages,
			Scenes:   opts.Scenes,
			Keep:     opts.Keep,
		}, rec),
		prefix: "verify-" + nuid.Next(),
		found:  check.NewFindings(),
		ids:    check.IDs{Shared: opts.Shared},
	}
}

// do makes the traffic and the faults, and checks the history.
func (r *run) do(ctx context.Context) (*Result, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if r.opts.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.opts.Duration)
		defer cancel()
	}
	displayed := r.startDisplay()

	// Faults end with ctx, so that the last rounds can finish, or with those.
	breakCtx, stopBreaking := context.WithCancel(ctx)
	defer stopBreaking()
	broken := make(chan error, 1)
	go func() {
		err := r.breakBrokers(breakCtx)
		if err != nil {
			stop()
		}
		broken <- err
	}()

	r.makeRounds(ctx)
	stopBreaking()
	err := <-broken
	displayed()

	r.check(fault.Topic)
	r.found.Merge(r.ids.Check())
	if !r.opts.Keep {
		err = errors.Join(err, r.client.DeleteTopics(r.prefix))
	}
	return r.result(), errors.Join(err, r.rec.Flush())
}

// breakBrokers makes faults until ctx ends, if the run makes any.
func (r *run) breakBrokers(ctx context.Context) error {
	if r.breaker == nil {
		return nil
	}
	return r.breaker.Run(ctx, r.rec)
}

// makeRounds makes one round after the other, in each group of clients, until the
// run is over.
func (r *run) makeRounds(ctx context.Context) {
	var groups sync.WaitGroup
	for range max(1, r.opts.Clients/ClientsPerRound) {
		groups.Go(func() {
			for ctx.Err() == nil && (r.opts.Count == 0 || r.rec.Operations() < r.opts.Count) {
				r.makeRound(ctx)
			}
		})
	}
	groups.Wait()
}

// makeRound makes one round of traffic and checks it.
func (r *run) makeRound(ctx context.Context) {
	n := r.rounds.Add(1)
	topics := r.client.RunRound(ctx, fmt.Sprintf("%s-%d", r.prefix, n), fmt.Sprint(n))
	for _, topic := range topics {
		r.check(topic)
	}
}

// check takes the history of a topic from the recorder and checks it. A topic
// without a history is not checked.
func (r *run) check(topic string) {
	ops := r.rec.Take(topic)
	if len(ops) == 0 {
		return
	}
	found := check.Topic(topic, ops)

	r.mu.Lock()
	defer r.mu.Unlock()
	r.found.Merge(found)
	r.ids.Add(ops)
	if len(found.Violations) == 0 || r.opts.Failed == nil {
		return
	}
	for _, op := range ops {
		_ = history.Write(r.opts.Failed, op) // the result has the violations in any case
	}
}

// displayPause is the pause between two calls of Progress.
const displayPause = 200 * time.Millisecond

// startDisplay calls Progress until the returned function is called, and once more
// then.
func (r *run) startDisplay() (stop func()) {
	if r.opts.Progress == nil {
		return func() {}
	}
	show := func() { r.opts.Progress(r.rec.Operations(), time.Duration(r.rec.Now())) }

	ended := make(chan struct{})
	var display sync.WaitGroup
	display.Go(func() {
		ticker := time.NewTicker(displayPause)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				show()
			case <-ended:
				show()
				return
			}
		}
	})
	return func() {
		close(ended)
		display.Wait()
	}
}
