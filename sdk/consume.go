package sdk

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// defaultPrefetch is small, so that the workers of a consumer share messages
	// evenly.
	defaultPrefetch = 64
	maxPrefetch     = 10_000 // the most that one call may acknowledge or extend

	// defaultGrace is also what Kubernetes leaves a program by default between the
	// signal to stop and the kill.
	defaultGrace = 30 * time.Second
)

// A Handler works on one message. In mode lease the message is acknowledged if
// the handler returns nil, and delivered again after a delay if it returns an
// error. Its context ends when the grace period of a stop is over, and with the
// cause [ErrLeaseLost] when the message's lease is lost.
type Handler func(ctx context.Context, message Record) error

// A ConsumeOption changes how [Subscription.Consume] works.
type ConsumeOption func(*loop)

// WithConcurrency sets how many handlers run at a time; 1 by default, and also if
// n is less. With one, messages are handled in order.
func WithConcurrency(n int) ConsumeOption {
	return func(l *loop) { l.concurrency = max(n, 1) }
}

// WithPrefetch sets how many messages the loop holds at most, those that are
// being handled included; 10,000 at most, and no fewer than there are handlers.
// By default, and if n is not positive, it is 64 or twice the concurrency,
// whichever is more. The fewer it holds, the more evenly workers share messages.
func WithPrefetch(n int) ConsumeOption {
	return func(l *loop) { l.prefetch = n }
}

// WithGrace sets how long handlers may go on after the loop is told to stop; 30
// seconds by default. Then their contexts end.
func WithGrace(grace time.Duration) ConsumeOption {
	return func(l *loop) { l.grace = grace }
}

// WithRedelivery sets the delay, 0 to 12 hours, after which a message whose
// handler failed is delivered again. Deliveries is how often it was delivered so
// far. By default the delay is a second, then twice as long each time, up to a
// minute.
func WithRedelivery(delay func(deliveries int) time.Duration) ConsumeOption {
	return func(l *loop) { l.delay = delay }
}

// WithErrorReport sets the function that is called with errors after which the
// loop goes on: handlers that fail, leases that are lost, brokers that cannot be
// reached. By default they are logged. Several goroutines may call report at a
// time.
func WithErrorReport(report func(error)) ConsumeOption {
	return func(l *loop) { l.report = report }
}

func defaultDelay(deliveries int) time.Duration {
	return min(time.Second<<min(max(deliveries-1, 0), 10), time.Minute)
}

func logError(err error) { slog.Warn("dq: consume", "error", err) }

// Consume calls handler with each of the consumer's messages until ctx ends, and
// then returns nil. It fetches ahead. In mode lease it extends the leases of the
// messages that it holds, and acknowledges in one call what was handled meanwhile.
//
// When ctx ends, no more handlers start and those that run may finish. What they
// did is acknowledged, and the other messages are given back at once. In mode
// auto, where nothing can be given back, every message that was fetched is
// handled.
//
// While the broker cannot be reached, Consume tries again. If the broker refuses,
// for example with [ErrConsumerNotFound], Consume stops as if ctx had ended and
// returns that error. When Consume returns, none of its goroutines is left.
func (s *Subscription) Consume(ctx context.Context, handler Handler, opts ...ConsumeOption) error {
	l := newLoop(s, handler, opts)

	info, err := s.Describe(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	l.lease = info.Lease

	return l.run(ctx)
}

func newLoop(s *Subscription, handler Handler, opts []ConsumeOption) *loop {
	l := &loop{
		subscription: s, handler: handler,
		concurrency: 1, grace: defaultGrace, delay: defaultDelay, report: logError,
		held: make(map[string]*heldMessage), nacks: make(map[time.Duration][]string), handled: make(chan struct{}, 1),
	}
	for _, opt := range opts {
		opt(l)
	}

	if l.prefetch <= 0 {
		l.prefetch = max(defaultPrefetch, 2*l.concurrency)
	}
	l.prefetch = min(max(l.prefetch, l.concurrency), maxPrefetch)
	l.slots = semaphore.NewWeighted(int64(l.prefetch))
	l.queue = make(chan *heldMessage, l.prefetch)
	return l
}
