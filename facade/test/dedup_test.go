package test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

// browsed waits until a topic has n messages, and returns their texts.
func (a api) browsed(topic string, n int) (texts []string) {
	a.t.Helper()
	require.Eventually(a.t, func() bool {
		texts = textsOf(a.browse(topic))
		return len(texts) >= n
	}, time.Minute, 20*time.Millisecond)
	return texts
}

func TestDedup_KeyIsTakenByWhatWaitsAndByWhatIsStored(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T", object{"dedup_window": "1h"})
		produce := func(message any, query ...string) response {
			return a.post(withQuery(path("T", "messages"), query), message)
		}
		again := object{"data": "x", "idempotency_key": "waits"}
		produce(object{"data": "now", "idempotency_key": "now"}).is(http.StatusCreated)
		produce(object{"data": "soon", "idempotency_key": "soon", "delay": "100ms"}).is(http.StatusAccepted)
		require.Equal(t, []string{"now", "soon"}, a.browsed("T", 2))
		produce(object{"data": "later", "idempotency_key": "waits", "delay": "1h"}).is(http.StatusAccepted)

		stored := []response{
			produce(object{"data": "x", "idempotency_key": "now", "delay": "100ms"}),
			produce(object{"data": "x", "idempotency_key": "soon"}),
			produce(object{"data": "x", "idempotency_key": "soon", "delay": "100ms"}),
		}
		waits := []response{
			produce(again),
			produce(again, "expected_last_sequence=2"),
			produce(object{"data": "x", "idempotency_key": "waits", "delay": "100ms"}),
		}
		atomic := produce([]object{{"data": "x"}, again}, "atomic=true")
		mixed := produce([]object{{"data": "last"}, again}).is(http.StatusCreated).receipts()

		for i, sequence := range []uint64{1, 2, 2} {
			r := stored[i].is(http.StatusOK).receipts()
			assert.Equal(t, []receipt{{Sequence: sequence, Duplicate: true}}, r, i)
		}
		for i := range waits {
			assert.Equal(t, []receipt{{Duplicate: true}}, waits[i].is(http.StatusAccepted).receipts(), i)
		}
		atomic.refuses(http.StatusConflict, "duplicate_batch")
		assert.False(t, mixed[0].Duplicate)
		assert.Equal(t, receipt{Duplicate: true}, mixed[1])
		assert.Equal(t, []string{"now", "soon", "last"}, a.browsed("T", 3))
	})
}

func TestDedup_KeysAreTakenAfterARestart(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config(t.TempDir())
	b := brokertest.Start(t, cfg)
	a := newAPI(t, b.URL())
	a.createTopic("T", object{"dedup_window": "1h"})
	a.produce("T", object{"data": "now", "idempotency_key": "a"})
	a.produce("T", object{"data": "later", "idempotency_key": "b", "delay": "1h"})
	require.NoError(t, b.Stop(context.Background()))

	a = startAPI(t, cfg)
	waits := a.produce("T", object{"data": "x", "idempotency_key": "b"})
	stored := a.produce("T", object{"data": "x", "idempotency_key": "a", "delay": "100ms"})

	assert.Equal(t, []receipt{{Duplicate: true}}, waits)
	assert.Equal(t, []receipt{{Sequence: 1, Duplicate: true}}, stored)
}

// After the window, a key is free, and the message that was accepted with it comes, whatever
// the broker learns of the earlier one.
func TestDedup_AcceptedMessageComesThoughItsKeyIsLearntAgain(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config(t.TempDir())
	b := brokertest.Start(t, cfg)
	a := newAPI(t, b.URL())
	a.createTopic("T", object{"dedup_window": "100ms"})
	a.produce("T", object{"data": "first", "idempotency_key": "k"})
	require.Eventually(t, func() bool {
		return !a.produce("T", object{"data": "second", "idempotency_key": "k", "delay": "2s"})[0].Duplicate
	}, time.Minute, 20*time.Millisecond, "the window is over")
	a.patch(path("T"), object{"dedup_window": "1h"}).is(http.StatusOK)

	require.NoError(t, b.Stop(context.Background()))
	a = startAPI(t, cfg)

	assert.Equal(t, []string{"first", "second"}, a.browsed("T", 2))
}

func TestDedup_ImmediateAndDelayedAtTheSameTimeAreOneMessage(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T", object{"dedup_window": "1h"})
	const keys = 40

	var calls sync.WaitGroup
	for i := range keys {
		for call := range 4 {
			message := object{"data": fmt.Sprint(i), "idempotency_key": fmt.Sprint(i)}
			if call%2 == i%2 {
				message["delay"] = "4s"
			}
			calls.Go(func() { a.post(path("T", "messages"), message) })
		}
	}
	calls.Wait()
	a.patch(path("T"), object{"dedup_window": "100ms"}).is(http.StatusOK) // so only what waits is known now
	a.produce("T", object{"data": "last", "delay": "5s"})

	require.Eventually(t, func() bool {
		return slices.Contains(textsOf(a.browse("T")), "last")
	}, time.Minute, 100*time.Millisecond)
	assert.ElementsMatch(t, append(numbers(0, keys), "last"), textsOf(a.browse("T")))
}
