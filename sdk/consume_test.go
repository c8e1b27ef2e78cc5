package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

// subscribe registers a consumer of a topic that has n messages, "0" and so on.
func subscribe(t *testing.T, n int, spec sdk.ConsumerSpec) *sdk.Subscription {
	t.Helper()
	topic := newTopic(t, sdk.PartialSettings{})
	spec.Start = sdk.AtFirst
	s, err := topic.Subscribe(t.Context(), spec)
	require.NoError(t, err)
	var messages []sdk.NewMessage
	for i := range n {
		messages = append(messages, sdk.Text(fmt.Sprint(i)))
	}
	_, err = topic.ProduceBatch(t.Context(), messages)
	require.NoError(t, err)
	return s
}

// unexpected fails the test when a loop reports an error.
func unexpected(t *testing.T) sdk.ConsumeOption {
	return sdk.WithErrorReport(func(err error) { t.Errorf("reported: %v", err) })
}

func TestConsumeHandlesEveryMessageOnceAndAcknowledgesIt(t *testing.T) {
	t.Parallel()
	const messages = 500
	for name, spec := range map[string]sdk.ConsumerSpec{"auto": {}, "lease": {Mode: sdk.ModeLease}} {
		for _, concurrency := range []int{1, 8} {
			t.Run(fmt.Sprint(name, concurrency), func(t *testing.T) {
				t.Parallel()
				s := subscribe(t, messages, spec)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var mu sync.Mutex
				var got []string
				var now, most atomic.Int32
				err := s.Consume(ctx, func(_ context.Context, r sdk.Record) error {
					if n := now.Add(1); n > most.Load() {
						most.Store(n)
					}
					defer now.Add(-1)
					mu.Lock()
					defer mu.Unlock()
					if got = append(got, string(r.Data)); len(got) == messages {
						cancel()
					}
					return nil
				}, sdk.WithConcurrency(concurrency), unexpected(t))
				require.NoError(t, err)
				assert.LessOrEqual(t, int(most.Load()), concurrency)
				require.Len(t, got, messages)
				seen := make(map[string]bool)
				for i, text := range got {
					assert.False(t, seen[text], "%s came twice", text)
					seen[text] = true
					if concurrency == 1 {
						assert.Equal(t, fmt.Sprint(i), text)
					}
				}
				info, err := s.Describe(t.Context())
				require.NoError(t, err)
				assert.Zero(t, info.Size)
			})
		}
	}
}

func TestConsumeGivesBackWhatFails(t *testing.T) {
	t.Parallel()
	s := subscribe(t, 3, sdk.ConsumerSpec{Mode: sdk.ModeLease, Lease: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var handled []string
	var reported []error
	err := s.Consume(ctx, func(_ context.Context, r sdk.Record) error {
		handled = append(handled, fmt.Sprintf("%s/%d", r.Data, r.Deliveries))
		if len(handled) == 5 {
			cancel()
		}
		if string(r.Data) == "1" && r.Deliveries < 3 {
			return errors.New("not now")
		}
		return nil
	}, sdk.WithRedelivery(func(int) time.Duration { return 0 }), sdk.WithErrorReport(func(err error) { reported = append(reported, err) }))
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"0/1", "1/1", "2/1", "1/2", "1/3"}, handled)
	require.Len(t, reported, 2)
	assert.ErrorContains(t, reported[0], "handle message 2: not now")
	info, err := s.Describe(t.Context())
	require.NoError(t, err)
	assert.Zero(t, info.Size)
}

func TestAStopFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]sdk.ConsumerSpec{"auto": {}, "lease": {Mode: sdk.ModeLease, Lease: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := subscribe(t, 10, spec)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var handled atomic.Int32
			err := s.Consume(ctx, func(ctx context.Context, _ sdk.Record) error {
				cancel()
				handled.Add(1)
				return ctx.Err() // it has not ended
			}, sdk.WithPrefetch(4), unexpected(t))
			require.NoError(t, err)
			info, err := s.Describe(t.Context())
			require.NoError(t, err)
			if name == "auto" { // what was fetched can only be handled
				assert.EqualValues(t, 10-handled.Load(), info.Size)
				return
			}
			assert.EqualValues(t, 1, handled.Load())
			assert.EqualValues(t, 9, info.Size)
			records, err := s.Fetch(t.Context(), sdk.Limits{Messages: 10}) // all were given back
			require.NoError(t, err)
			assert.Len(t, records, 9)
		})
	}
}

func TestTheGracePeriodEndsHandlers(t *testing.T) {
	t.Parallel()
	s := subscribe(t, 1, sdk.ConsumerSpec{Mode: sdk.ModeLease, Lease: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := s.Consume(ctx, func(ctx context.Context, _ sdk.Record) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}, sdk.WithPrefetch(1), // no fetch is under way that could get it instead, and hang up
		sdk.WithGrace(time.Millisecond), sdk.WithRedelivery(func(int) time.Duration { return 0 }), sdk.WithErrorReport(func(err error) {
			assert.ErrorIs(t, err, context.Canceled)
		}))
	require.NoError(t, err)
	records, err := s.Fetch(t.Context(), sdk.Limits{})
	require.NoError(t, err)
	assert.Len(t, records, 1)
}

func TestARefusalEndsConsume(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})
	handler := func(context.Context, sdk.Record) error { return nil }
	require.ErrorIs(t, topic.Subscription("none").Consume(t.Context(), handler), sdk.ErrConsumerNotFound)

	s, err := topic.Subscribe(t.Context(), sdk.ConsumerSpec{Name: "c", Mode: sdk.ModeLease})
	require.NoError(t, err)
	_, err = topic.Produce(t.Context(), sdk.Text("m"))
	require.NoError(t, err)
	_, err = s.Seek(t.Context(), sdk.AtFirst)
	require.NoError(t, err)
	err = s.Consume(t.Context(), func(ctx context.Context, _ sdk.Record) error { return s.Delete(ctx) },
		sdk.WithPrefetch(1), sdk.WithErrorReport(func(error) {}))
	require.ErrorIs(t, err, sdk.ErrConsumerNotFound)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Consume(cancelled, handler))
}

// leaser is a broker with one consumer in mode lease.
type leaser struct {
	lease    time.Duration
	fetch    func(fetches int, w http.ResponseWriter)
	extended chan []string
	lost     atomic.Bool // leases cannot be extended
	fetches  atomic.Int32

	mu    sync.Mutex
	calls []string // ack and nack
}

func (l *leaser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var in struct{ Tokens []string }
	_ = json.Unmarshal(body, &in)
	_, operation, _ := strings.Cut(r.URL.Path, "/consumers/c")
	switch operation {
	case "":
		fmt.Fprintf(w, `{"mode":"lease","lease":%q}`, l.lease)
	case "/fetch":
		l.fetch(int(l.fetches.Add(1)), w)
	case "/extend":
		select {
		case l.extended <- in.Tokens:
		default:
		}
		if l.lost.Load() {
			problem(w, http.StatusConflict, `{"status":409,"code":"lease_lost","detail":"d","tokens":["t1"]}`)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		l.mu.Lock()
		l.calls = append(l.calls, fmt.Sprint(operation, in.Tokens))
		l.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}
}

func (l *leaser) start(t *testing.T) *sdk.Subscription {
	t.Helper()
	address, _ := server(t, l.ServeHTTP)
	client, err := sdk.New(address, sdk.WithRetries(1))
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client.Topic("T").Subscription("c")
}

func TestLeasesAreExtendedWhileAHandlerRuns(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := &leaser{lease: 600 * time.Millisecond, extended: make(chan []string, 1), fetch: func(n int, w http.ResponseWriter) {
		if n == 1 {
			_, _ = io.WriteString(w, `{"messages":[{"sequence":1,"token":"t1","deliveries":1},{"sequence":2,"token":"t2","deliveries":1}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"messages":[]}`)
	}}
	err := l.start(t).Consume(ctx, func(_ context.Context, r sdk.Record) error {
		if r.Sequence == 1 {
			for range 3 {
				assert.ElementsMatch(t, []string{"t1", "t2"}, <-l.extended, "those that wait are extended too")
			}
			return nil
		}
		cancel()
		return nil
	}, unexpected(t))
	require.NoError(t, err)
	assert.Contains(t, []string{"/ack[t1] /ack[t2]", "/ack[t1 t2]"}, strings.Join(l.calls, " "))
}

func TestALostLeaseEndsItsHandler(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := &leaser{lease: 600 * time.Millisecond, fetch: func(n int, w http.ResponseWriter) {
		if n == 1 {
			_, _ = io.WriteString(w, `{"messages":[{"sequence":1,"token":"t1","deliveries":1}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"messages":[]}`)
	}}
	l.lost.Store(true)
	var lost atomic.Bool
	err := l.start(t).Consume(ctx, func(ctx context.Context, _ sdk.Record) error {
		<-ctx.Done()
		assert.ErrorIs(t, context.Cause(ctx), sdk.ErrLeaseLost)
		cancel()
		return nil
	}, sdk.WithErrorReport(func(err error) {
		assert.ErrorIs(t, err, sdk.ErrLeaseLost)
		lost.Store(true)
	}))
	require.NoError(t, err)
	assert.True(t, lost.Load())
	assert.Empty(t, l.calls, "it is neither acknowledged nor given back")
}

func TestConsumeOutlivesABrokerThatFails(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l := &leaser{lease: time.Hour, fetch: func(n int, w http.ResponseWriter) {
		switch n {
		case 1:
			problem(w, http.StatusServiceUnavailable, `{"code":"unavailable","detail":"d"}`)
		case 2:
			hangUp(w, &http.Request{Body: http.NoBody})
		case 3:
			_, _ = io.WriteString(w, `not JSON`)
		case 4: // about to stop: it does not wait
			_, _ = io.WriteString(w, `{"messages":[]}`)
		default:
			_, _ = fmt.Fprintf(w, `{"messages":[{"sequence":%[1]d,"token":"t%[1]d","deliveries":1}]}`, n)
		}
	}}
	var reported atomic.Int32
	err := l.start(t).Consume(ctx, func(context.Context, sdk.Record) error {
		cancel()
		return nil
	}, sdk.WithPrefetch(1), sdk.WithErrorReport(func(error) { reported.Add(1) }))
	require.NoError(t, err)
	assert.EqualValues(t, 3, reported.Load())
	assert.Equal(t, []string{"/ack[t5]"}, l.calls)
}
