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
	// leaseWait is how long a fetch waits for messages in mode lease.
	leaseWait = 20 * time.Second

	// autoWait is the same in mode auto. It is shorter because a fetch that is given
	// up may lose messages there, so that a stop has to wait for it.
	autoWait = time.Second
)

// loop is one call of Consume. It runs under three contexts: fetching ends when
// the loop is to stop, handling a grace period later, and keeping when the last
// handler has returned.
type loop struct {
	subscription *Subscription
	handler      Handler
	concurrency  int
	prefetch     int
	grace        time.Duration
	delay        func(deliveries int) time.Duration
	report       func(error)

	lease time.Duration       // 0 in mode auto
	slots *semaphore.Weighted // one for each message that may be held
	queue chan *heldMessage   // has room for all of them, so that sending never blocks

	mu      sync.Mutex
	held    map[string]*heldMessage    // by token, in mode lease
	acks    []string                   // tokens to acknowledge
	nacks   map[time.Duration][]string // tokens to give back, by delay
	handled chan struct{}              // tells that acks or nacks has more
}

// heldMessage is a message that the loop holds.
type heldMessage struct {
	Record
	ctx  context.Context // of its handler
	end  context.CancelCauseFunc
	done bool // its token is in acks or nacks, or was
}

// isLost reports whether the message's lease was lost.
func (m *heldMessage) isLost() bool { return errors.Is(context.Cause(m.ctx), ErrLeaseLost) }

// run starts all goroutines and waits for them. It returns the refusal of the
// broker that made it stop, or nil.
func (l *loop) run(ctx context.Context) error {
	fetching, stop := context.WithCancel(ctx)
	defer stop()
	calls := context.WithoutCancel(ctx)
	handling, abandon := context.WithCancel(calls)
	defer abandon()
	keeping, finish := context.WithCancel(calls)
	defer finish()

	refused := make(chan error, 1)
	var workers sync.WaitGroup
	workers.Go(func() {
		refused <- l.fetchAll(fetching, handling)
		stop()
	})
	for range l.concurrency {
		workers.Go(func() { l.work(fetching) })
	}

	var keepers sync.WaitGroup
	keepers.Go(func() { l.endGrace(fetching, keeping, abandon) })
	if l.lease > 0 {
		keepers.Go(func() { l.keepLeases(keeping) })
		keepers.Go(func() { l.sendAcks(calls, keeping) })
	}

	workers.Wait()
	finish()
	keepers.Wait()
	return <-refused
}

// endGrace ends the contexts of handlers that still run when the grace period is
// over.
func (l *loop) endGrace(fetching, keeping context.Context, abandon func()) {
	select {
	case <-fetching.Done():
	case <-keeping.Done():
		return
	}

	timer := time.NewTimer(l.grace)
	defer timer.Stop()
	select {
	case <-timer.C:
		abandon()
	case <-keeping.Done():
	}
}

// fetchAll fetches messages until fetching ends or the broker refuses, and then
// closes the queue.
func (l *loop) fetchAll(fetching, handling context.Context) error {
	defer close(l.queue)

	pauses := newPauses(firstPause, maxPause)
	for {
		n, ok := l.reserve(fetching)
		if !ok {
			return nil
		}

		started := time.Now()
		records, err := l.fetch(fetching, n)
		l.slots.Release(int64(n - len(records)))
		for _, r := range records {
			l.hold(handling, r)
		}

		waited := len(records) > 0 || time.Since(started) > l.wait()/2
		switch {
		case fetching.Err() != nil:
			return nil
		case err != nil && !isTransient(err):
			return err
		case err != nil:
			l.report(fmt.Errorf("fetch: %w", err))
			pauses.failed(err)
		case waited:
			pauses.reset()
			continue
		}

		// The broker failed, or did not wait for messages because it is stopping.
		pauses.wait(fetching)
	}
}

// reserve takes all slots that are free, and returns how many those are. It waits
// until half of the slots are free, so that one fetch brings many messages, or
// until one is, if half would leave workers idle. It returns false if ctx ends
// first.
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

// fetch fetches at most n messages. In mode auto it goes on when fetching ends.
func (l *loop) fetch(fetching context.Context, n int) ([]Record, error) {
	if l.lease == 0 {
		fetching = context.WithoutCancel(fetching)
	}
	return l.subscription.Fetch(fetching, Limits{Messages: n, Wait: l.wait()})
}

// wait returns how long a fetch waits for messages.
func (l *loop) wait() time.Duration {
	if l.lease == 0 {
		return autoWait
	}
	return leaseWait
}

// isTransient reports whether a fetch that failed with err may succeed later.
func isTransient(err error) bool {
	if errors.Is(err, ErrInvalidText) {
		return false
	}
	refused, ok := errors.AsType[*Error](err)
	return !ok || refused.Status >= http.StatusInternalServerError ||
		refused.Status == http.StatusTooManyRequests || refused.Status == http.StatusRequestTimeout
}

// hold queues a message for the workers.
func (l *loop) hold(handling context.Context, r Record) {
	m := &heldMessage{Record: r}
	m.ctx, m.end = context.WithCancelCause(handling)

	if l.lease > 0 {
		l.mu.Lock()
		l.held[r.Token] = m
		l.mu.Unlock()
	}
	l.queue <- m
}

// work handles messages until the queue is closed and empty. When fetching ends,
// it gives back the messages that are left, or handles them in mode auto.
func (l *loop) work(fetching context.Context) {
	for m := range l.queue {
		switch {
		case l.lease > 0 && fetching.Err() != nil:
			l.nack(m, 0)
		case m.isLost():
			l.forget(m.Token)
		default:
			l.handle(m)
		}
		m.end(nil)
	}
}

// handle calls the handler with a message and acknowledges it or gives it back.
func (l *loop) handle(m *heldMessage) {
	err := l.handler(m.ctx, m.Record)
	if err != nil {
		l.report(fmt.Errorf("handle message %d: %w", m.Sequence, err))
	}

	switch {
	case l.lease == 0:
		l.slots.Release(1)
	case m.isLost():
		l.forget(m.Token)
	case err != nil:
		l.nack(m, l.delay(m.Deliveries))
	default:
		l.ack(m)
	}
}
