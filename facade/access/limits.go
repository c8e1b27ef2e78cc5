package access

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// minByteBurst is the smallest burst of a limit on bytes. With a low rate, the
// bytes of a second would be fewer than those of one message.
const minByteBurst = 64 << 10

// account counts what a principal has used. It outlives changes of the file.
type account struct {
	limits            Limits
	topics, consumers Quota

	mu              sync.Mutex    // guards reserved; makes checking both limiters and taking a request one step
	requests, bytes *rate.Limiter // nil: no limit
	reserved        int           // bytes of answers that are not charged yet
}

func newAccount(l Limits) *account {
	return &account{
		limits:    l,
		topics:    Quota{what: "topics", limit: l.MaxTopics, turn: semaphore.NewWeighted(1)},
		consumers: Quota{what: "consumers", limit: l.MaxConsumers, turn: semaphore.NewWeighted(1)},
		requests:  newLimiter(l.RequestsPerSecond, 1),
		bytes:     newLimiter(l.BytesPerSecond, minByteBurst),
	}
}

// newLimiter makes a limiter whose burst is one second's worth, but at least
// minBurst.
func newLimiter(perSecond *float64, minBurst int) *rate.Limiter {
	if perSecond == nil {
		return nil
	}
	return rate.NewLimiter(rate.Limit(*perSecond), max(minBurst, int(math.Ceil(*perSecond))))
}

func (a *account) take(now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()

	if wait := untilOne(a.requests, now); wait > 0 {
		return &RateError{"requests", *a.limits.RequestsPerSecond, wait}
	}
	if wait := untilOne(a.bytes, now); wait > 0 {
		return &RateError{"bytes", *a.limits.BytesPerSecond, wait}
	}

	takeDebt(a.requests, now, 1)
	return nil
}

func (a *account) charge(now time.Time, size int) {
	if a.bytes == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	takeDebt(a.bytes, now, size)
}

// reserve keeps as many of most bytes as are left, but at least one, for an answer.
func (a *account) reserve(now time.Time, most int) int {
	if a.bytes == nil {
		return most
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n := max(1, min(most, int(a.bytes.TokensAt(now))-a.reserved))
	a.reserved += n
	return n
}

// release gives back what reserve has kept.
func (a *account) release(n int) {
	if a.bytes == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reserved -= n
}

// untilByte returns how long it takes until a byte is left.
func (a *account) untilByte(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return untilOne(a.bytes, now)
}

// untilOne returns how long it takes until l has one token.
func untilOne(l *rate.Limiter, now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	missing := 1 - l.TokensAt(now)
	if missing <= 1e-9 { // a rounding error
		return 0
	}
	return max(1, time.Duration(missing/float64(l.Limit())*float64(time.Second)))
}

// takeDebt takes n tokens of l, even if it has fewer: later requests wait for the
// rest. A limiter allows reservations of at most one burst, so it makes several.
func takeDebt(l *rate.Limiter, now time.Time, n int) {
	if l == nil {
		return
	}
	for ; n > 0; n -= l.Burst() {
		l.ReserveN(now, min(n, l.Burst()))
	}
}

// Quota limits how many topics or consumers a token may have.
type Quota struct {
	what  string
	limit *int // nil: no limit
	turn  *semaphore.Weighted
}

// Reserve checks that count returns less than the limit. Without a limit it does not
// call count. The caller creates the topic or consumer and then calls release. Calls for
// one token wait for the release of the one before, so that a broker never creates more
// than the limit, however many calls come at once; n brokers together may exceed it by
// n-1. Errors: [*QuotaError] if the limit is reached, that of ctx, and that of count.
func (q *Quota) Reserve(ctx context.Context, count func(context.Context) (int, error)) (release func(), err error) {
	if q.limit == nil {
		return func() {}, nil
	}
	if err := q.turn.Acquire(ctx, 1); err != nil {
		return nil, err
	}

	n, err := count(ctx)
	if err == nil && n >= *q.limit {
		err = &QuotaError{q.what, *q.limit, n}
	}
	if err != nil {
		q.turn.Release(1)
		return nil, err
	}
	return func() { q.turn.Release(1) }, nil
}
