package access_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/access"
)

func limited(t *testing.T, limits access.Limits) *access.Principal {
	t.Helper()
	token, e := entry(t, "somebody", "*=admin")
	e.Limits = limits
	return authenticated(t, token, e)
}

// took counts the requests of size bytes that are accepted until one is refused.
func took(t *testing.T, p *access.Principal, size int) (n int, refused *access.RateError) {
	t.Helper()
	for {
		err := p.Take()
		if err != nil {
			require.ErrorAs(t, err, &refused)
			return n, refused
		}
		p.Charge(size)
		n++
	}
}

func TestLimits_RequestsAreRefusedUntilRetryAfter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rate  float64
		burst int
		wait  time.Duration
	}{
		{10, 10, 100 * time.Millisecond},
		{2.5, 3, 400 * time.Millisecond},
		{0.1, 1, 10 * time.Second},
	} {
		p := limited(t, access.Limits{RequestsPerSecond: &test.rate})

		synctest.Test(t, func(t *testing.T) {
			n, refused := took(t, p, 1<<30)

			assert.Equal(t, test.burst, n)
			assert.Equal(t, "requests", refused.What)
			assert.Equal(t, test.wait, refused.RetryAfter.Round(time.Microsecond))

			// A refused request costs nothing: after RetryAfter the next one is accepted.
			_, refused = took(t, p, 0)
			time.Sleep(refused.RetryAfter + time.Microsecond)
			n, _ = took(t, p, 0)
			assert.Equal(t, 1, n)

			// In the long run the rate holds.
			n = 0
			for range 100 {
				time.Sleep(time.Duration(float64(time.Second) / test.rate))
				more, _ := took(t, p, 0)
				n += more
			}
			assert.InDelta(t, 100, n, 1)
		})
	}
}

func TestLimits_LargeMessageDelaysLaterOnes(t *testing.T) {
	t.Parallel()
	rate := 1e6
	p := limited(t, access.Limits{BytesPerSecond: &rate})

	synctest.Test(t, func(t *testing.T) {
		p.Charge(31e6) // no size is impossible
		_, refused := took(t, p, 0)
		assert.Equal(t, "bytes", refused.What)
		assert.InDelta(t, 30, refused.RetryAfter.Seconds(), 0.01, "the bytes of one second were free")

		time.Sleep(29 * time.Second)
		require.Error(t, p.Take())
		time.Sleep(2 * time.Second)
		require.NoError(t, p.Take())
		p.Charge(1e6)

		p.Charge(5e6)
		_, refused = took(t, p, 0)
		assert.InDelta(t, 5, refused.RetryAfter.Seconds(), 0.01, "what is sent counts too")
	})
}

func TestLimits_ConcurrentRequestsCountOnceEach(t *testing.T) {
	t.Parallel()
	rate := 50.0
	p := limited(t, access.Limits{RequestsPerSecond: &rate})

	synctest.Test(t, func(t *testing.T) { // the clock stands still
		var accepted atomic.Int64
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for range 50 {
					if p.Take() == nil {
						accepted.Add(1)
					}
				}
			})
		}
		all.Wait()

		assert.EqualValues(t, 50, accepted.Load())
	})
}

func TestLimits_ChangedFileGivesNoNewRequests(t *testing.T) {
	t.Parallel()
	log := newTestLog()
	rate := 0.001
	token, e := entry(t, "a", "x=consume")
	e.Limits.RequestsPerSecond = &rate
	tokens, path := open(t, log.Logger, e)
	authenticate := func() *access.Principal {
		p, err := tokens.Authenticate(header(token), nil)
		require.NoError(t, err)
		return p
	}
	require.NoError(t, authenticate().Take())

	e.Grants[0].Topics = "y"
	replace(t, path, encode(t, e))
	log.next(t)
	require.Error(t, authenticate().Take())

	rate = 0.002
	replace(t, path, encode(t, e))
	log.next(t)
	require.NoError(t, authenticate().Take(), "other limits start a new count")
}

func TestLimits_QuotaHoldsForConcurrentCalls(t *testing.T) {
	t.Parallel()
	most := 5
	p := limited(t, access.Limits{MaxTopics: &most})
	var topics, refusals atomic.Int64
	count := func(context.Context) (int, error) { return int(topics.Load()), nil }

	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			release, err := p.Topics().Reserve(t.Context(), count)
			var over *access.QuotaError
			if errors.As(err, &over) {
				assert.Equal(t, access.QuotaError{What: "topics", Limit: 5, Count: 5}, *over)
				refusals.Add(1)
				return
			}
			topics.Add(1)
			release()
		})
	}
	all.Wait()

	assert.EqualValues(t, 5, topics.Load())
	assert.EqualValues(t, 45, refusals.Load())
}

func TestLimits_QuotaCountsOnlyWithALimit(t *testing.T) {
	t.Parallel()
	none := 0
	p := limited(t, access.Limits{MaxTopics: &none})
	fail := errors.New("failed")
	count := func(context.Context) (int, error) { return 0, fail }
	countNone := func(context.Context) (int, error) { return 0, nil }

	_, unlimited := p.Consumers().Reserve(t.Context(), count)
	_, failed := p.Topics().Reserve(t.Context(), count)
	_, refused := p.Topics().Reserve(t.Context(), countNone)

	require.NoError(t, unlimited)
	require.ErrorIs(t, failed, fail)
	var over *access.QuotaError
	require.ErrorAs(t, refused, &over, "a limit of 0 allows none")
}

func TestLimits_WaitForAQuotaEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	most := 5
	p := limited(t, access.Limits{MaxConsumers: &most})
	countNone := func(context.Context) (int, error) { return 0, nil }
	canceled, cancel := context.WithCancel(t.Context())
	cancel()

	release, err := p.Consumers().Reserve(t.Context(), countNone)
	require.NoError(t, err)
	_, waiting := p.Consumers().Reserve(canceled, countNone)
	release()
	_, released := p.Consumers().Reserve(t.Context(), countNone)

	assert.ErrorIs(t, waiting, context.Canceled)
	assert.NoError(t, released)
}
