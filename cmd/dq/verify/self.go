package verify

import (
	"context"
	"errors"
	"io"

	"dq/cmd/dq/verify/fault"
)

// RunSelf makes a run against brokers of its own and breaks them meanwhile with
// the named faults. Log gets what the brokers have to say.
func RunSelf(ctx context.Context, opts Options, self fault.Deployment, faults []string, log io.Writer) (_ *Result, err error) {
	breaker := &fault.Breaker{Self: self}
	if err := breaker.Prepare(faults); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, breaker.Release()) }()
	if breaker.Brokers, err = breaker.Self.Processes(log); err != nil {
		return nil, err
	}
	opts.URLs = nil
	for _, p := range breaker.Brokers {
		opts.URLs = append(opts.URLs, p.Url)
		if err := p.Start(); err != nil {
			return nil, err
		}
	}
	run := newRun(opts)
	breaker.Rec = run.rec
	run.breaks = breaker.Work
	return run.do(ctx)
}
