package sdk_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

// forEachCall runs a test of each call of a client.
func forEachCall(t *testing.T, test func(t *testing.T, c apiCall)) {
	t.Parallel()
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

func TestRetry_BrokenConnectionRepeatsOnlySafeCalls(t *testing.T) {
	forEachCall(t, func(t *testing.T, c apiCall) {
		// The second request of a connection breaks it: net/http itself would
		// repeat a GET on a connection that it had used before.
		var first atomic.Bool
		address, requests := startServer(t, func(w http.ResponseWriter, r *http.Request) {
			if first.CompareAndSwap(false, true) {
				write(w, `{"status":"success"}`)
				return
			}
			hangUp(w, r)
		})
		client := connectTo(t, address, sdk.WithRetries(1))
		require.NoError(t, client.Ping(t.Context()))
		requests.Store(0)

		err := c.call(t.Context(), client)

		require.Error(t, err)
		if c.repeatable {
			assert.GreaterOrEqual(t, requests.Load(), int32(2))
			assert.NotErrorIs(t, err, sdk.ErrOutcomeUnknown)
		} else {
			assert.EqualValues(t, 1, requests.Load())
			assert.ErrorIs(t, err, sdk.ErrOutcomeUnknown)
		}
	})
}

func TestRetry_BrokerFailureRepeatsOnlySafeCalls(t *testing.T) {
	forEachCall(t, func(t *testing.T, c apiCall) {
		address, requests := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			write(w, `{"status":"failure","code":"unavailable","message":"no space left"}`)
		})
		client := connectTo(t, address, sdk.WithRetries(2))

		err := c.call(t.Context(), client)

		require.ErrorIs(t, err, sdk.ErrUnavailable)
		assert.ErrorContains(t, err, "no space left")
		if c.repeatable {
			assert.EqualValues(t, 3, requests.Load())
		} else {
			assert.EqualValues(t, 1, requests.Load())
			assert.ErrorIs(t, err, sdk.ErrOutcomeUnknown)
		}
	})
}

func TestRetry_EveryCallWaitsForABrokerThatIsNotUpYet(t *testing.T) {
	forEachCall(t, func(t *testing.T, c apiCall) {
		var dials atomic.Int32
		transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) == 1 {
				return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}}
		address, requests := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			write(w, `{"status":"failure","code":"topic_exists","message":"m"}`)
		})
		client := connectTo(t, address, sdk.WithTransport(transport))

		err := c.call(t.Context(), client)

		require.ErrorIs(t, err, sdk.ErrTopicExists)
		assert.EqualValues(t, 1, requests.Load())
	})
}

func TestRetry_EveryCallThatWasTurnedAwayIsRepeated(t *testing.T) {
	forEachCall(t, func(t *testing.T, c apiCall) {
		address, requests := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
			writeProblem(w, http.StatusServiceUnavailable, `{"code":"overloaded","detail":"too much is under way"}`)
		})
		client := connectTo(t, address, sdk.WithRetries(1))

		err := c.call(t.Context(), client)

		require.ErrorIs(t, err, sdk.ErrOverloaded)
		assert.NotErrorIs(t, err, sdk.ErrOutcomeUnknown)
		assert.EqualValues(t, 2, requests.Load())
	})
}

func TestRetry_ContextEndsEveryCall(t *testing.T) {
	forEachCall(t, func(t *testing.T, c apiCall) {
		arrived, release := make(chan struct{}, 1), make(chan struct{})
		address, _ := startServer(t, func(http.ResponseWriter, *http.Request) {
			arrived <- struct{}{}
			<-release
		})
		t.Cleanup(func() { close(release) })
		client := connectTo(t, address)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()

		err := c.call(ctx, client)

		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, !c.repeatable, errors.Is(err, sdk.ErrOutcomeUnknown))
	})
}

func TestRetry_PauseThatTheBrokerAsksForIsKept(t *testing.T) {
	t.Parallel()
	refused := time.Time{}
	address, requests := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		if refused.IsZero() {
			refused = time.Now()
			w.Header().Set("Retry-After", "1")
			writeProblem(w, http.StatusTooManyRequests, `{"code":"rate_limited","detail":"slower"}`)
			return
		}
		assert.GreaterOrEqual(t, time.Since(refused), time.Second)
		write(w, `{"messages":[{"sequence":1}]}`)
	})
	topic := connectTo(t, address).Topic("T")

	receipt, err := topic.Produce(t.Context(), sdk.Text("m"))

	require.NoError(t, err)
	assert.EqualValues(t, 1, receipt.Sequence)
	assert.EqualValues(t, 2, requests.Load())
}

func TestRetry_PauseThatIsTooLongIsLeftToTheCaller(t *testing.T) {
	t.Parallel()
	address, requests := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		writeProblem(w, http.StatusTooManyRequests, `{"code":"quota_exceeded","detail":"tomorrow"}`)
	})
	topic := connectTo(t, address).Topic("T")

	_, err := topic.Describe(t.Context())

	require.ErrorIs(t, err, sdk.ErrQuotaExceeded)
	refused, _ := errors.AsType[*sdk.Error](err)
	assert.Equal(t, time.Hour, refused.RetryAfter)
	assert.EqualValues(t, 1, requests.Load())
}

func TestRetry_DeletionWhoseAnswerWasLostSucceeds(t *testing.T) {
	t.Parallel()
	var deleted atomic.Bool
	address, _ := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if deleted.CompareAndSwap(false, true) {
			hangUp(w, r)
			return
		}
		writeProblem(w, http.StatusNotFound, `{"code":"topic_not_found","detail":"Topic:T does not exist"}`)
	})
	topic := connectTo(t, address).Topic("T")

	first, second := topic.Delete(t.Context()), topic.Delete(t.Context())

	require.NoError(t, first)
	require.ErrorIs(t, second, sdk.ErrTopicNotFound)
}
