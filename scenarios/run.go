package scenarios

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"dq/scenarios/runner"
	"dq/sdk"
)

// Run describes how to run a plan against a broker.
type Run struct {
	Plan   Plan
	Broker string // HOST:PORT or URL
	Dir    string // of the log files; those of the producers must exist

	// Timeout ends a consumer when no message has come for that long. It must be
	// longer than any pause of the producers.
	Timeout time.Duration
	// Progress, if not nil, is called after each line that was produced or
	// consumed, by one goroutine at a time.
	Progress func(produced, consumed int)
	// Midway, if not nil, is called when half of the lines are produced. The
	// producer of the line in the middle waits for it; the others go on.
	Midway func(context.Context) error
}

// Do runs the plan. It creates the topics that do not exist, starts all consumers and,
// when they are registered, all producers, and returns when all have ended. If one
// fails, it stops the others and returns the error of the first.
func (r Run) Do(ctx context.Context) error {
	if err := r.createTopics(ctx); err != nil {
		return err
	}

	p := &progress{run: r, half: r.Plan.Produced() / 2}
	group, ctx := errgroup.WithContext(ctx)
	var registering sync.WaitGroup
	for _, consumer := range r.Plan.Consumers {
		registering.Add(1)
		ready := sync.OnceFunc(registering.Done)
		group.Go(func() error {
			defer ready() // also when it fails
			return r.consume(ctx, p, consumer, ready)
		})
	}
	registering.Wait()

	for _, producer := range r.Plan.Producers {
		group.Go(func() error { return r.produce(ctx, p, producer) })
	}
	return group.Wait()
}

// createTopics creates the topics of the plan that do not exist.
func (r Run) createTopics(ctx context.Context) error {
	client, err := sdk.New(r.Broker)
	if err != nil {
		return err
	}
	defer client.Close()

	for _, topic := range r.Plan.Topics() {
		if err := client.CreateTopic(ctx, topic); err != nil && !errors.Is(err, sdk.ErrTopicExists) {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	return nil
}

// consume runs one consumer with its own client, as a separate process would have.
func (r Run) consume(ctx context.Context, p *progress, consumer Consumer, ready func()) error {
	client, err := sdk.New(r.Broker)
	if err != nil {
		return err
	}
	defer client.Close()

	_, err = runner.Consumer{
		ID: consumer.ID, Topics: consumer.Topics, Dir: r.Dir, Timeout: r.Timeout, Ready: ready,
		Progress: func(written int) {
			if written > 0 {
				p.consume()
			}
		},
	}.Run(ctx, client)
	return err
}

// produce runs one producer with its own client. If Midway fails, the producer ends
// with that error.
func (r Run) produce(ctx context.Context, p *progress, producer Producer) error {
	client, err := sdk.New(r.Broker)
	if err != nil {
		return err
	}
	defer client.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	_, err = runner.Producer{
		ID: producer.ID, Topics: producer.Topics, Dir: r.Dir,
		Progress: func(sent, _ int) {
			if sent > 0 && p.produce() && r.Midway != nil {
				if err := r.Midway(ctx); err != nil {
					cancel(fmt.Errorf("midway: %w", err))
				}
			}
		},
	}.Run(ctx, client)

	if cause := context.Cause(ctx); err != nil && cause != nil {
		return errors.Join(cause, err)
	}
	return err
}

// progress counts the lines of all runners of a run.
type progress struct {
	run  Run
	half int // of the lines to produce

	mu                 sync.Mutex
	produced, consumed int // lines
}

// produce counts one line, and reports whether it is the one in the middle.
func (p *progress) produce() (middle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.produced++
	p.report()
	return p.produced == p.half
}

// consume counts one line.
func (p *progress) consume() {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.consumed++
	p.report()
}

func (p *progress) report() {
	if p.run.Progress != nil {
		p.run.Progress(p.produced, p.consumed)
	}
}
