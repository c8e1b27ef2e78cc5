package sdk

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	defaultPrefetch = 64
	maxPrefetch     = 10_000 // what one call may settle

	// defaultGrace is how long handlers may take to finish.
	defaultGrace = 30 * time.Second
)

// A Handler works on one message. In mode lease the message is acknowledged if
// it returns nil, and handed out again after a while if it does not. Its context
// ends if that takes longer than the grace period of a stop, or when the lease
// is lost.
type Handler func(ctx context.Context, message Record) error

// A ConsumeOption changes how [Subscription.Consume] works.
type ConsumeOption func(*loop)

// WithConcurrency sets how many handlers run at a time; 1 by default, and then
// messages are handled in order.
func WithConcurrency(n int) ConsumeOption {
	return func(l *loop) { l.concurrency = max(n, 1) }
}

// WithPrefetch sets how many messages the loop holds at most, those that are
// being handled included: 64, or twice the concurrency if that is more, by
// default, and 10,000 at most. Fewer are shared better among workers.
func WithPrefetch(n int) ConsumeOption {
	return func(l *loop) { l.prefetch = n }
}

// WithGrace sets for how long handlers under way may go on when the loop is to
// stop; 30 seconds by default. Then their contexts end.
func WithGrace(grace time.Duration) ConsumeOption {
	return func(l *loop) { l.grace = grace }
}

// WithRedelivery sets after how long a message whose handler failed is handed
// out again, by how often it was handed out; by default a second after the first
// time, then twice as long each time, up to a minute.
func WithRedelivery(delay func(deliveries int) time.Duration) ConsumeOption {
	return func(l *loop) { l.delay = delay }
}

// WithErrorReport sets who is told of the errors that the loop deals with itself:
// handlers that fail, leases that are lost, brokers that cannot be reached. By
// default they are logged. Report may be called by several goroutines at a time.
func WithErrorReport(report func(error)) ConsumeOption {
	return func(l *loop) { l.report = report }
}

func defaultDelay(deliveries int) time.Duration {
	return min(time.Second<<min(max(deliveries-1, 0), 10), time.Minute)
}

func logError(err error) { slog.Warn("dq: consume", "error", err) }

// Consume hands the consumer's messages to handler until ctx ends, and returns
// nil then. It fetches ahead; in mode lease it keeps the leases of what it holds,
// and acknowledges together what is done together. When ctx ends no more
// handlers start, those under way finish, what they did is acknowledged and the
// rest is given back. In mode auto, where nothing can be given back, all that was
// fetched is handled.
//
// While the broker cannot be reached, Consume tries again. If the broker refuses,
// as with [ErrConsumerNotFound], Consume stops as if ctx had ended, and returns
// the error. When it returns, none of its goroutines is left.
func (s *Subscription) Consume(ctx context.Context, handler Handler, opts ...ConsumeOption) error {
	l := &loop{
		subscription: s, handler: handler,
		concurrency: 1, grace: defaultGrace, delay: defaultDelay, report: logError,
		held: make(map[string]*delivery), nacks: make(map[time.Duration][]string), settled: make(chan struct{}, 1),
	}
	for _, opt := range opts {
		opt(l)
	}
	if l.prefetch <= 0 {
		l.prefetch = max(defaultPrefetch, 2*l.concurrency)
	}
	l.prefetch = min(max(l.prefetch, l.concurrency), maxPrefetch)
	l.slots = semaphore.NewWeighted(int64(l.prefetch))
	l.queue = make(chan *delivery, l.prefetch)
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
