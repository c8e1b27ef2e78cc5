package sdk_test

import (
	"context"
	"errors"
	"fmt"
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

// size returns how many messages the consumer has not consumed.
func size(t *testing.T, s *sdk.Subscription) uint64 {
	t.Helper()
	info, err := s.Describe(t.Context())
	require.NoError(t, err)
	return info.Size
}

// unexpected fails the test when a loop reports an error.
func unexpected(t *testing.T) sdk.ConsumeOption {
	return sdk.WithErrorReport(func(err error) { t.Errorf("reported: %v", err) })
}

// atOnce delivers messages again without a delay.
var atOnce = sdk.WithRedelivery(func(int) time.Duration { return 0 })

// recorder is a handler that records the messages and how many it handles at a
// time. It calls stop with the last of them.
type recorder struct {
	messages int
	stop     func()

	mu      sync.Mutex
	got     []string
	running int
	most    int
}

func (r *recorder) handle(_ context.Context, m sdk.Record) error {
	r.mu.Lock()
	r.running++
	r.most = max(r.most, r.running)
	r.mu.Unlock()

	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	if r.got = append(r.got, string(m.Data)); len(r.got) == r.messages {
		r.stop()
	}
	return nil
}

func TestConsume_HandlesAndAcknowledgesEveryMessageOnce(t *testing.T) {
	t.Parallel()
	const messages = 500
	for name, spec := range map[string]sdk.ConsumerSpec{"auto": {}, "lease": {Mode: sdk.ModeLease}} {
		for _, concurrency := range []int{1, 8} {
			t.Run(fmt.Sprint(name, concurrency), func(t *testing.T) {
				t.Parallel()
				s := subscribe(t, messages, spec)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r := recorder{messages: messages, stop: cancel}

				err := s.Consume(ctx, r.handle, sdk.WithConcurrency(concurrency), unexpected(t))

				require.NoError(t, err)
				assert.LessOrEqual(t, r.most, concurrency)
				require.Len(t, r.got, messages)
				seen := make(map[string]bool)
				for i, text := range r.got {
					assert.False(t, seen[text], "%s came twice", text)
					seen[text] = true
					if concurrency == 1 {
						assert.Equal(t, fmt.Sprint(i), text)
					}
				}
				assert.Zero(t, size(t, s))
			})
		}
	}
}

func TestConsume_FailedMessageIsRedelivered(t *testing.T) {
	t.Parallel()
	s := subscribe(t, 3, sdk.ConsumerSpec{Mode: sdk.ModeLease, Lease: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var handled []string
	handle := func(_ context.Context, r sdk.Record) error {
		handled = append(handled, fmt.Sprintf("%s/%d", r.Data, r.Deliveries))
		if len(handled) == 5 {
			cancel()
		}
		if string(r.Data) == "1" && r.Deliveries < 3 {
			return errors.New("not now")
		}
		return nil
	}
	var reported []error
	report := func(err error) { reported = append(reported, err) }

	err := s.Consume(ctx, handle, atOnce, sdk.WithErrorReport(report))

	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"0/1", "1/1", "2/1", "1/2", "1/3"}, handled)
	require.Len(t, reported, 2)
	assert.ErrorContains(t, reported[0], "handle message 2: not now")
	assert.Zero(t, size(t, s))
}

// consumeAndStop consumes a topic of ten messages until the first is handled, and
// returns how many are handled.
func consumeAndStop(t *testing.T, s *sdk.Subscription) (handled int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	err := s.Consume(ctx, func(ctx context.Context, _ sdk.Record) error {
		cancel()
		handled++
		return ctx.Err() // the handler's context has not ended
	}, sdk.WithPrefetch(4), unexpected(t))
	require.NoError(t, err)
	return handled
}

func TestConsume_StopHandlesAllThatWasFetchedInModeAuto(t *testing.T) {
	t.Parallel()
	s := subscribe(t, 10, sdk.ConsumerSpec{})

	handled := consumeAndStop(t, s)

	assert.EqualValues(t, 10-handled, size(t, s))
}

func TestConsume_StopGivesBackTheRestInModeLease(t *testing.T) {
	t.Parallel()
	s := subscribe(t, 10, sdk.ConsumerSpec{Mode: sdk.ModeLease, Lease: time.Hour})

	handled := consumeAndStop(t, s)

	assert.Equal(t, 1, handled)
	assert.EqualValues(t, 9, size(t, s))
	records, err := s.Fetch(t.Context(), sdk.Limits{Messages: 10})
	require.NoError(t, err)
	assert.Len(t, records, 9, "all were given back")
}

func TestConsume_GracePeriodEndsHandlers(t *testing.T) {
	t.Parallel()
	s := subscribe(t, 1, sdk.ConsumerSpec{Mode: sdk.ModeLease, Lease: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	err := s.Consume(ctx, func(ctx context.Context, _ sdk.Record) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	},
		sdk.WithPrefetch(1), // no other fetch is under way that could get the message and hang up
		sdk.WithGrace(time.Millisecond), atOnce,
		sdk.WithErrorReport(func(err error) { assert.ErrorIs(t, err, context.Canceled) }))

	require.NoError(t, err)
	records, err := s.Fetch(t.Context(), sdk.Limits{})
	require.NoError(t, err)
	assert.Len(t, records, 1)
}

func TestConsume_RefusalEndsIt(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})
	handle := func(context.Context, sdk.Record) error { return nil }

	err := topic.Subscription("none").Consume(t.Context(), handle)

	require.ErrorIs(t, err, sdk.ErrConsumerNotFound)
}

func TestConsume_DeletedConsumerEndsIt(t *testing.T) {
	t.Parallel()
	s := subscribe(t, 1, sdk.ConsumerSpec{Name: "c", Mode: sdk.ModeLease})
	handle := func(ctx context.Context, _ sdk.Record) error { return s.Delete(ctx) }

	err := s.Consume(t.Context(), handle, sdk.WithPrefetch(1), sdk.WithErrorReport(func(error) {}))

	require.ErrorIs(t, err, sdk.ErrConsumerNotFound)
}

func TestConsume_EndedContextIsNoError(t *testing.T) {
	t.Parallel()
	s := subscribe(t, 1, sdk.ConsumerSpec{})
	handle := func(context.Context, sdk.Record) error { return nil }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	err := s.Consume(ctx, handle)

	require.NoError(t, err)
}

func TestConsume_LeasesAreExtendedWhileAHandlerRuns(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := &leaseBroker{
		lease: 600 * time.Millisecond, extended: make(chan []string, 1),
		fetch: once(leased(1), leased(2)),
	}

	err := b.start(t).Consume(ctx, func(_ context.Context, r sdk.Record) error {
		if r.Sequence == 2 {
			cancel()
			return nil
		}
		for range 3 {
			assert.ElementsMatch(t, []string{"t1", "t2"}, <-b.extended, "those in the queue are extended too")
		}
		return nil
	}, unexpected(t))

	require.NoError(t, err)
	assert.Contains(t, [][]string{{"/ack[t1]", "/ack[t2]"}, {"/ack[t1 t2]"}}, b.acks)
}

func TestConsume_LostLeaseEndsItsHandler(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := &leaseBroker{lease: 600 * time.Millisecond, loses: true, fetch: once(leased(1))}
	var lost atomic.Bool
	report := func(err error) {
		assert.ErrorIs(t, err, sdk.ErrLeaseLost)
		lost.Store(true)
	}

	err := b.start(t).Consume(ctx, func(ctx context.Context, _ sdk.Record) error {
		<-ctx.Done()
		assert.ErrorIs(t, context.Cause(ctx), sdk.ErrLeaseLost)
		cancel()
		return nil
	}, sdk.WithErrorReport(report))

	require.NoError(t, err)
	assert.True(t, lost.Load())
	assert.Empty(t, b.acks, "it is neither acknowledged nor given back")
}

func TestConsume_GoesOnWhenABrokerFails(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := &leaseBroker{lease: time.Hour, fetch: failingFetches}
	handle := func(context.Context, sdk.Record) error {
		cancel()
		return nil
	}
	var reported atomic.Int32
	report := func(error) { reported.Add(1) }

	err := b.start(t).Consume(ctx, handle, sdk.WithPrefetch(1), sdk.WithErrorReport(report))

	require.NoError(t, err)
	assert.EqualValues(t, 3, reported.Load())
	assert.Equal(t, []string{"/ack[t5]"}, b.acks)
}
