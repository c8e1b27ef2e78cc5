package sdk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// How long a fetch waits for messages. In mode auto one that is given up may
	// take messages with it, so that it is awaited when the loop stops.
	leaseWait = 20 * time.Second
	autoWait  = time.Second
)

// loop is one call of Consume.
type loop struct {
	subscription *Subscription
	handler      Handler
	concurrency  int
	prefetch     int
	grace        time.Duration
	delay        func(deliveries int) time.Duration
	report       func(error)

	lease time.Duration       // 0: mode auto
	slots *semaphore.Weighted // one for each message that may be held
	queue chan *delivery      // holds all that may be held: sending never blocks

	mu      sync.Mutex
	held    map[string]*delivery       // by token, those whose lease is to be kept
	acks    []string                   // tokens of what is done
	nacks   map[time.Duration][]string // tokens of what is to come back, by delay
	settled chan struct{}              // tells that there are more of them
}

// delivery is a message that the loop holds.
type delivery struct {
	Record
	ctx  context.Context //nolint:containedctx // of its handler
	end  context.CancelCauseFunc
	done bool // its handler has returned
}

// run starts and awaits all goroutines.
func (l *loop) run(ctx context.Context) (failed error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	calls := context.WithoutCancel(ctx)
	working, abandon := context.WithCancel(calls)
	defer abandon()
	attending, finish := context.WithCancel(calls)
	defer finish()
	var workers, attendants sync.WaitGroup
	workers.Go(func() {
		failed = l.fetchAll(running, working)
		stop()
	})
	for range l.concurrency {
		workers.Go(func() { l.work(running) })
	}
	attendants.Go(func() { l.endGrace(running, attending, abandon) })
	if l.lease > 0 {
		attendants.Go(func() { l.keep(attending) })
		attendants.Go(func() { l.settle(calls, attending) })
	}
	workers.Wait()
	finish()
	attendants.Wait()
	return failed
}

// fetchAll fetches messages until running ends or the broker refuses, and closes
// the queue then.
func (l *loop) fetchAll(running, working context.Context) error {
	defer close(l.queue)
	pauses := newPauses(firstPause, maxPause)
	for {
		n, ok := l.reserve(running)
		if !ok {
			return nil
		}
		started := time.Now()
		records, wait, err := l.fetch(running, n)
		l.slots.Release(int64(n - len(records)))
		for _, r := range records {
			l.hold(r, working)
		}
		switch {
		case running.Err() != nil:
			return nil
		case err == nil && (len(records) > 0 || time.Since(started) > wait/2):
			pauses.Reset()
			continue
		case err != nil && !transient(err):
			return err
		case err != nil:
			l.report(fmt.Errorf("fetch: %w", err))
			pauses.failed(err)
		} // else the broker does not wait: it is about to stop
		pauses.wait(running)
	}
}

// reserve takes the slots that are free. It waits for one or, where there are
// enough for the workers to have something to do meanwhile, for half of all, so
// that one fetch brings many.
func (l *loop) reserve(ctx context.Context) (n int, ok bool) {
	n = 1
	if l.prefetch >= 2*l.concurrency {
		n = l.prefetch / 2
	}
	if l.slots.Acquire(ctx, int64(n)) != nil {
		return 0, false
	}
	for l.slots.TryAcquire(1) {
		n++
	}
	if ctx.Err() != nil {
		l.slots.Release(int64(n))
		return 0, false
	}
	return n, true
}

func (l *loop) fetch(running context.Context, n int) (records []Record, wait time.Duration, err error) {
	wait = leaseWait
	if l.lease == 0 {
		running, wait = context.WithoutCancel(running), autoWait
	}
	records, err = l.subscription.Fetch(running, Limits{Messages: n, Wait: wait})
	return records, wait, err
}

// transient reports whether a fetch that failed may succeed later.
func transient(err error) bool {
	if errors.Is(err, ErrInvalidText) {
		return false
	}
	refused, ok := errors.AsType[*Error](err)
	return !ok || refused.Status >= http.StatusInternalServerError ||
		refused.Status == http.StatusTooManyRequests || refused.Status == http.StatusRequestTimeout
}

// hold queues a message.
func (l *loop) hold(r Record, working context.Context) {
	d := &delivery{Record: r}
	d.ctx, d.end = context.WithCancelCause(working)
	if l.lease > 0 {
		l.mu.Lock()
		l.held[r.Token] = d
		l.mu.Unlock()
	}
	l.queue <- d
}

// work handles messages. When running ends it gives back those that are left, if
// it can.
func (l *loop) work(running context.Context) {
	for d := range l.queue {
		switch {
		case l.lease > 0 && running.Err() != nil:
			l.leave(d, 0)
		case context.Cause(d.ctx) == ErrLeaseLost: //nolint:errorlint // it was set as it is
			l.drop(d.Token)
		default:
			l.handle(d)
		}
		d.end(nil)
	}
}

func (l *loop) handle(d *delivery) {
	err := l.handler(d.ctx, d.Record)
	if err != nil {
		l.report(fmt.Errorf("handle message %d: %w", d.Sequence, err))
	}
	switch {
	case l.lease == 0:
		l.slots.Release(1)
	case context.Cause(d.ctx) == ErrLeaseLost: //nolint:errorlint // it was set as it is
		l.drop(d.Token)
	case err != nil:
		l.leave(d, l.delay(d.Deliveries))
	default:
		l.leave(d, acknowledge)
	}
}

// acknowledge is in place of a delay: the message is not to come back.
const acknowledge = time.Duration(-1)

// leave has a message acknowledged, or given back after a delay, by settle.
func (l *loop) leave(d *delivery, delay time.Duration) {
	l.mu.Lock()
	d.done = true
	if delay == acknowledge {
		l.acks = append(l.acks, d.Token)
	} else {
		l.nacks[delay] = append(l.nacks[delay], d.Token)
	}
	l.mu.Unlock()
	select {
	case l.settled <- struct{}{}:
	default:
	}
}

// drop forgets messages that are settled, or whose lease is lost.
func (l *loop) drop(tokens ...string) {
	l.mu.Lock()
	for _, token := range tokens {
		delete(l.held, token)
	}
	l.mu.Unlock()
	l.slots.Release(int64(len(tokens)))
}
