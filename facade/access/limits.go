package access

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// minByteBurst is the least that a token may take at once after a pause, in
// bytes: the bucket of a low rate would be filled by less than one message.
const minByteBurst = 64 << 10

// account is what a principal has taken. It outlives changes of the file.
type account struct {
	limits            Limits
	topics, consumers Quota

	mu              sync.Mutex    // makes looking at both and taking from both one step
	requests, bytes *rate.Limiter // nil: no limit
}

func newAccount(l Limits) *account {
	return &account{
		limits:    l,
		topics:    Quota{what: "topics", most: l.MaxTopics, turn: semaphore.NewWeighted(1)},
		consumers: Quota{what: "consumers", most: l.MaxConsumers, turn: semaphore.NewWeighted(1)},
		requests:  newLimiter(l.RequestsPerSecond, 1),
		bytes:     newLimiter(l.BytesPerSecond, minByteBurst),
	}
}

// newLimiter lets a second's worth through at once, and burst at least.
func newLimiter(perSecond *float64, burst int) *rate.Limiter {
	if perSecond == nil {
		return nil
	}
	return rate.NewLimiter(rate.Limit(*perSecond), max(burst, int(math.Ceil(*perSecond))))
}

func (a *account) take(now time.Time, size int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if wait := untilOne(a.requests, now); wait > 0 {
		return &RateError{"requests", *a.limits.RequestsPerSecond, wait}
	}
	if wait := untilOne(a.bytes, now); wait > 0 {
		return &RateError{"bytes", *a.limits.BytesPerSecond, wait}
	}
	owe(a.requests, now, 1)
	owe(a.bytes, now, size)
	return nil
}

func (a *account) charge(now time.Time, size int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	owe(a.bytes, now, size)
}

// untilOne is how long it takes until there is one for l to give.
func untilOne(l *rate.Limiter, now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	missing := 1 - l.TokensAt(now)
	if missing <= 1e-9 { // what is left over of sums of fractions
		return 0
	}
	return max(1, time.Duration(missing/float64(l.Limit())*float64(time.Second)))
}

// owe takes n, more than there are if need be. A limiter lets at most a burst be
// reserved at once.
func owe(l *rate.Limiter, now time.Time, n int) {
	if l == nil {
		return
	}
	for ; n > 0; n -= l.Burst() {
		l.ReserveN(now, min(n, l.Burst()))
	}
}

// A Quota bounds how many topics or consumers a token may have.
type Quota struct {
	what string
	most *int // nil: no limit
	turn *semaphore.Weighted
}

// Do calls create if count returns less than the limit, and returns a
// [*QuotaError] if it does not. Count is not called where there is no limit. Of
// the calls with one token only one at a time is here, so that a broker never
// makes more than the limit, however many come at once; several brokers
// together may exceed it by one less than they are.
func (q *Quota) Do(ctx context.Context, count func(context.Context) (int, error), create func(context.Context) error) error {
	if q.most == nil {
		return create(ctx)
	}
	if err := q.turn.Acquire(ctx, 1); err != nil {
		return err
	}
	defer q.turn.Release(1)
	n, err := count(ctx)
	if err != nil {
		return err
	}
	if n >= *q.most {
		return &QuotaError{q.what, *q.most, n}
	}
	return create(ctx)
}
