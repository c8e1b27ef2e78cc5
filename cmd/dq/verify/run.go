package verify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
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
	URLs     []string      // of the facades of one deployment
	Token    string        // that is shown to them, if it is not ""
	Duration time.Duration // the traffic stops after that, unless it is 0
	Count    int64         // no round is begun after so many operations, unless it is 0
	Clients  int           // that call at the same time, in groups of [ClientsPerRound]
	Messages int           // that a round sends; 0 is 400
	Timeout  time.Duration // how long a client waits for an answer
	Patience time.Duration // how long a client may go without an answer before that is a violation
	HangUp   bool          // clients hang up now and then
	Shared   bool          // others use the deployment, too
	Keep     bool          // the topics are not deleted
	History  io.Writer     // gets every operation as a line of JSON, if it is not nil
	// Failed gets the history of each topic with a violation, if it is not nil.
	Failed io.Writer
	// Progress is called now and then from one goroutine, if it is not nil.
	Progress func(operations int64, elapsed time.Duration)
}

// ClientsPerRound is about how many clients the traffic of one round has.
const ClientsPerRound = 20

// A Result is what a run found.
type Result struct {
	Operations int64                       `json:"operations"`
	Elapsed    time.Duration               `json:"elapsed_ns"`
	Rounds     int                         `json:"rounds"`
	Counts     map[string]map[string]int64 `json:"counts"`   // of operations, by kind and outcome
	Failures   map[string]int64            `json:"failures"` // calls that failed or were not answered, by status and code
	Faults     map[string]int64            `json:"faults"`
	Checked    map[string]int64            `json:"checked"` // how many things each check looked at
	Violations []check.Violation           `json:"violations"`
}

// OK reports whether all promises were kept.
func (r *Result) OK() bool { return len(r.Violations) == 0 }

// A run is one run of traffic.
type run struct {
	opts   Options
	rec    *history.Recorder
	caller *traffic.Caller
	prefix string
	ctx    context.Context             // the traffic stops when it ends
	breaks func(context.Context) error // breaks the brokers until its context ends; nil: nobody does

	rounds atomic.Int64
	mu     sync.Mutex
	found  *check.Findings
	ids    check.Ids
}

// Run makes traffic until ctx or the time of the options ends, or their number of
// operations is reached, and checks all of it.
func Run(ctx context.Context, opts Options) (*Result, error) { return newRun(opts).do(ctx) }

// newRun prepares a run.
func newRun(opts Options) *run {
	rec := history.NewRecorder(opts.History)
	return &run{
		opts: opts, rec: rec, caller: traffic.Caller{Rec: rec, Urls: opts.URLs, Token: opts.Token, Timeout: opts.Timeout, Vanish: opts.HangUp}.Connect(), prefix: "verify-" + nuid.Next(),
		found: check.NewFindings(), ids: check.Ids{Shared: opts.Shared},
	}
}

// do makes the traffic and checks it, as [Run] says.
func (r *run) do(ctx context.Context) (*Result, error) {
	var stop context.CancelFunc
	r.ctx, stop = context.WithCancel(ctx)
	if r.opts.Duration > 0 {
		r.ctx, stop = context.WithTimeout(ctx, r.opts.Duration)
	}
	defer stop()
	done := make(chan struct{})
	var display traffic.Group
	display.Run(func() { r.display(done) })
	attack, calm := context.WithCancel(r.ctx)
	defer calm()
	var breaking traffic.Group
	var err error
	breaking.Run(func() {
		if r.breaks == nil {
			return
		}
		if err = r.breaks(attack); err != nil {
			stop()
		}
	})
	var rounds traffic.Group
	for range max(1, r.opts.Clients/ClientsPerRound) {
		rounds.Run(func() {
			for r.goesOn() {
				r.round()
			}
		})
	}
	rounds.Wait()
	calm()
	breaking.Wait()
	close(done)
	display.Wait()
	if ops := r.rec.Take(fault.FaultTopic); len(ops) > 0 {
		r.check(fault.FaultTopic, ops)
	}
	r.found.Merge(r.ids.Check())
	if !r.opts.Keep {
		err = errors.Join(err, r.sweep())
	}
	return r.result(), errors.Join(err, r.rec.Flush())
}

// goesOn reports whether there is to be another round.
func (r *run) goesOn() bool {
	return r.ctx.Err() == nil && (r.opts.Count == 0 || r.rec.Operations() < r.opts.Count)
}

// round makes one round of traffic and checks it.
func (r *run) round() {
	n := r.rounds.Add(1)
	round := &traffic.Round{
		Caller: r.caller, Id: fmt.Sprint(n), Topic: fmt.Sprintf("%s-%d", r.prefix, n),
		Traffic: r.ctx, Messages: cmp.Or(r.opts.Messages, traffic.RoundMessages), Patience: func() time.Duration { return r.opts.Patience },
	}
	round.Drive(r.opts.Keep)
	for _, topic := range []string{round.Topic, round.LifeTopic()} {
		r.check(topic, r.rec.Take(topic))
	}
}

// check checks the complete history of a topic.
func (r *run) check(topic string, ops []*history.Op) {
	found := check.CheckTopic(topic, ops)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found.Merge(found)
	r.ids.Add(ops)
	if len(found.Violations) > 0 && r.opts.Failed != nil {
		for _, op := range ops {
			_ = history.Write(r.opts.Failed, op) // the violations are told in any case
		}
	}
}

// displayPause is how often the progress is told.
const displayPause = 200 * time.Millisecond

func (r *run) display(done <-chan struct{}) {
	ticker := time.NewTicker(displayPause)
	defer ticker.Stop()
	for more := true; more; {
		select {
		case <-ticker.C:
		case <-done:
			more = false
		}
		if r.opts.Progress != nil {
			r.opts.Progress(r.rec.Operations(), time.Duration(r.rec.Now()))
		}
	}
}

// sweep deletes what is left of the topics of the run: a call of unknown outcome
// may have made one after it was deleted.
func (r *run) sweep() error {
	w := (&traffic.Round{Caller: r.caller, Patience: func() time.Duration { return r.opts.Patience }}).Worker("sweeper")
	var list struct{ Topics []struct{ Name string } }
	w.Persist("the topics are listed", func() *history.Op {
		return w.Do(w.Op("list topics"), traffic.Request{Method: http.MethodGet, Path: "/v1/topics?prefix=" + url.QueryEscape(r.prefix), Answer: &list})
	})
	for _, topic := range list.Topics {
		if !strings.HasPrefix(topic.Name, r.prefix) {
			continue
		}
		w.Persist("the topic is deleted", func() *history.Op { return w.TopicCall(history.OpDeleteTopic, topic.Name) })
	}
	if w.Stuck.Load() {
		return errors.New("topics with the prefix " + r.prefix + " are left")
	}
	return nil
}

func (r *run) result() *Result {
	return &Result{
		Operations: r.rec.Operations(), Elapsed: time.Duration(r.rec.Now()), Rounds: int(r.rounds.Load()),
		Counts: r.rec.Counts, Failures: r.rec.Codes, Faults: r.rec.Faults,
		Checked: r.found.Checked, Violations: r.found.Violations,
	}
}

// Replay checks a history that a run has written. Shared is as in [Options].
func Replay(recorded io.Reader, shared bool) (*Result, error) {
	r := newRun(Options{Shared: shared})
	in := json.NewDecoder(recorded)
	last := int64(0)
	for {
		op := &history.Op{}
		err := in.Decode(op)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the history, behind operation %d: %w", last, err)
		}
		r.rec.Add(op)
		last = op.N
		if op.Kind == history.OpEnd {
			if !strings.HasSuffix(op.Topic, traffic.LifeSuffix) {
				r.rounds.Add(1)
			}
			r.check(op.Topic, r.rec.Take(op.Topic))
		}
	}
	for topic := range r.rec.Topics { // a run that was cut off
		r.check(topic, r.rec.Topics[topic])
	}
	r.found.Merge(r.ids.Check())
	return r.result(), nil
}
