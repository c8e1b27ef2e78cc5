package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

func TestLease_ExpiredMessageIsRedelivered(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T")
		a.fill("T", 0, 2)
		const lease = 300 * time.Millisecond
		c := a.register("T", object{"mode": "lease", "start": "first", "lease": lease.String()})
		begin := time.Now()

		got := c.fetch("limit=10")

		assert.Equal(t, numbers(0, 2), textsOf(got))
		state := c.describe()
		assert.EqualValues(t, 0, state.Lag)
		assert.EqualValues(t, 2, state.InFlight)
		assert.EqualValues(t, 2, state.Size)
		assert.EqualValues(t, 2, state.Position)

		for _, m := range got {
			assert.Equal(t, 1, m.Deliveries)
		}
		for deliveries := 2; deliveries <= 4; deliveries++ {
			got = c.fetch("limit=10", within)

			assert.False(t, time.Since(begin) < lease*time.Duration(deliveries-1), "a lease was over early")
			assert.Equal(t, numbers(0, 2), textsOf(got))
			for _, m := range got {
				assert.Equal(t, deliveries, m.Deliveries)
			}
		}
	})
}

func TestLease_OldTokenIsLost(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T")
		a.fill("T", 0, 2)
		c := a.register("T", object{"mode": "lease", "start": "first", "lease": "300ms"})
		old := tokensOf(c.fetch("limit=10"))
		for range 2 { // further deliveries
			require.Len(t, c.fetch("limit=10", within), 2)
		}
		got := c.fetch("limit=10", within)

		allOld := c.ack(old).refuses(http.StatusConflict, "lease_lost")
		oneOld := c.ack([]string{old[0], got[0].Token}).refuses(http.StatusConflict, "lease_lost")

		assert.Equal(t, old, allOld.Tokens, "an old token is worth nothing")
		assert.Equal(t, old[:1], oneOld.Tokens, "the others were dealt with")
		assert.EqualValues(t, 1, c.describe().Size)

		c.ack([]string{got[1].Token, got[1].Token}).is(http.StatusNoContent)

		assert.Empty(t, c.fetch("limit=10", "wait=500ms"))
		assert.Zero(t, c.describe().Size)
	})
}

func TestLease_AckUpToEndsAllEarlierLeases(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 10)
	c := a.register("T", object{"mode": "lease", "start": "first"})
	got := append(c.fetch("limit=3"), c.fetch("limit=4")...)
	c.nack(tokensOf(got[1:2]), time.Hour).is(http.StatusNoContent)

	c.ackUpTo(got[4].Token).is(http.StatusNoContent)

	state := c.describe()
	assert.EqualValues(t, 2, state.InFlight)
	assert.EqualValues(t, 3, state.Lag)
	assert.EqualValues(t, 5, state.Size)
	c.ackUpTo(got[4].Token).refuses(http.StatusConflict, "lease_lost")
	c.ack(tokensOf(got[5:])).is(http.StatusNoContent)
	assert.Equal(t, numbers(7, 3), c.drain())
}

func TestLease_NackRedeliversAtOnceOrAfterItsDelay(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	first.fill("T", 0, 3)
	c := first.register("T", object{"mode": "lease", "start": "first", "lease": "1h"})
	got := c.fetch("limit=3")

	c.nack(tokensOf(got[1:2]), 0).is(http.StatusNoContent)

	again := c.fetch("limit=3")
	require.Equal(t, []string{"1"}, textsOf(again), "at once")
	assert.Equal(t, 2, again[0].Deliveries)

	const delay = 400 * time.Millisecond
	begin := time.Now()
	c.nack(tokensOf(got[2:]), delay).is(http.StatusNoContent)

	delayed := c.via(second).fetch(within)
	assert.Equal(t, []string{"2"}, textsOf(delayed), "the end of the delay ends the wait, on every broker")
	assert.False(t, time.Since(begin) < delay)
}

func TestLease_NackEndsALongPollOnEveryBroker(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	first.fill("T", 0, 1)
	c := first.register("T", object{"mode": "lease", "start": "first", "lease": "1h"})
	got := c.fetch()

	for _, nacking := range []api{first, second} {
		poll := make(chan []message, 1)
		go func() { poll <- c.fetch(within) }()
		require.Empty(t, c.via(second).fetch("wait=100ms")) // by then the poll waits

		c.via(nacking).nack(tokensOf(got), 0).is(http.StatusNoContent)

		got = <-poll
		require.Equal(t, []string{"0"}, textsOf(got))
	}
}

func TestLease_ExtendedLeaseEndsLater(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 3)
	c := a.register("T", object{"mode": "lease", "start": "first", "lease": "500ms"})
	begin := time.Now()
	got := c.fetch("limit=3")

	c.extend(tokensOf(got[:1]), time.Hour).is(http.StatusNoContent)
	c.extend(tokensOf(got[1:2]), 1500*time.Millisecond).is(http.StatusNoContent)
	c.extend(tokensOf(got[2:]), 0).is(http.StatusNoContent)

	next := c.fetch(within)
	assert.Equal(t, []string{"2"}, textsOf(next), "by default it is the lease of the consumer, from now")
	assert.False(t, time.Since(begin) < 500*time.Millisecond)
	c.ack(tokensOf(next)).is(http.StatusNoContent)

	assert.Equal(t, []string{"1"}, textsOf(c.fetch(within)))
	assert.False(t, time.Since(begin) < 1500*time.Millisecond, "a lease was over early")
	c.ack(tokensOf(got[:1])).is(http.StatusNoContent)
}

func TestLease_MaxInFlightLimitsWhatIsHandedOut(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	first.fill("T", 0, 10)
	c := first.register("T", object{"mode": "lease", "start": "first", "max_in_flight": 4})

	got := c.fetch("limit=3")

	require.Len(t, got, 3)
	require.Equal(t, []string{"3"}, c.via(second).drain())
	assert.Empty(t, c.drain())

	poll := make(chan []string, 1)
	go func() { poll <- textsOf(c.via(second).fetch("limit=10", within)) }()
	require.Empty(t, c.via(second).fetch("wait=100ms")) // by then the poll waits
	c.ack(tokensOf(got[:2])).is(http.StatusNoContent)

	assert.Equal(t, numbers(4, 2), <-poll, "an ack makes room, and ends the wait")
}

func TestLease_TokenIsGoodOnEveryBroker(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	first.fill("T", 0, 3)
	c := first.register("T", object{"mode": "lease", "start": "first"})
	got := c.fetch("limit=3")

	c.via(second).ack(tokensOf(got[:1])).is(http.StatusNoContent)
	c.via(second).extend(tokensOf(got[1:2]), time.Hour).is(http.StatusNoContent)
	c.via(second).nack(tokensOf(got[2:]), 0).is(http.StatusNoContent)

	c.ack(tokensOf(got[:1])).refuses(http.StatusConflict, "lease_lost")
	assert.Equal(t, []string{"2"}, textsOf(c.fetch("limit=3")))
}

func TestLease_SurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, kill := startToKill(t, dir)
	a.createTopic("T")
	a.fill("T", 0, 3)
	const lease = 3 * time.Second
	id := a.register("T", object{"name": "n", "mode": "lease", "start": "first", "lease": lease.String()}).ID
	begin := time.Now()
	c := a.consumer("T", "n")
	got := c.fetch("limit=2")
	c.nack(tokensOf(got[:1]), 0).is(http.StatusNoContent)
	again := c.fetch()

	kill()
	a, _ = startToKill(t, dir)
	c = c.via(a)

	state := a.consumer("T", id).describe()
	assert.EqualValues(t, 1, state.Lag, "leases outlive the broker")
	assert.EqualValues(t, 2, state.InFlight, "leases outlive the broker")
	c.ack(tokensOf(got[:1])).refuses(http.StatusConflict, "lease_lost")
	c.ack(tokensOf(got[1:])).is(http.StatusNoContent)
	assert.Equal(t, []string{"2"}, c.drain())

	next := c.fetch(within)
	assert.False(t, time.Since(begin) < lease, "a lease was over early")
	require.Equal(t, textsOf(again), textsOf(next))
	assert.Equal(t, 3, next[0].Deliveries, "the counts of deliveries outlive it too")
}

func TestLease_TokenIsGoodForItsConsumerOnly(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 2)
	spec := object{"name": "n", "mode": "lease", "start": "first"}
	a.register("T", spec)
	other := a.register("T", object{"name": "o", "mode": "lease", "start": "first"})
	named := a.consumer("T", "n")
	old := tokensOf(named.fetch("limit=2"))
	require.Len(t, other.fetch("limit=2"), 2)

	other.ack(old).refuses(http.StatusConflict, "lease_lost")

	named.del().is(http.StatusNoContent)
	a.register("T", spec)
	require.Len(t, named.fetch("limit=2"), 2)
	for _, r := range []response{named.ack(old), named.nack(old, 0), named.extend(old, 0)} {
		assert.Equal(t, old, r.refuses(http.StatusConflict, "lease_lost").Tokens)
	}
	assert.EqualValues(t, 2, named.describe().InFlight)
}

func TestLease_SeekEndsAllLeases(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 3)
	c := a.register("T", object{"mode": "lease", "start": "first"})
	old := tokensOf(c.fetch("limit=3"))

	c.seek("first")

	got := c.fetch("limit=3")
	assert.Equal(t, numbers(0, 3), textsOf(got))
	assert.Equal(t, 1, got[0].Deliveries)
	p := c.ack(old).refuses(http.StatusConflict, "lease_lost")
	assert.Equal(t, old, p.Tokens, "even though the messages are handed out as often again")
	c.ack(tokensOf(got)).is(http.StatusNoContent)
}

func TestLease_RemovedMessageCanStillBeAcknowledged(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 4)
	c := a.register("T", object{"mode": "lease", "start": "first"})
	got := c.fetch("limit=3")

	a.purge("T", "up_to=2")

	c.ack(tokensOf(got[:1])).is(http.StatusNoContent)
	c.nack(tokensOf(got[1:]), 0).is(http.StatusNoContent)
	assert.Equal(t, numbers(2, 2), c.drain())
	assert.EqualValues(t, 2, c.describe().Size)
}

func TestLease_WorkersThatDieLoseNothing(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	c := first.register("T", object{"mode": "lease", "lease": "1s"})
	const total = 500
	first.fill("T", 0, total)

	var died atomic.Int32
	seen := collect(t, total, []api{first, second}, func(a api, worker int) []string {
		mine := c.via(a)
		got := mine.fetch(fmt.Sprintf("limit=%d", 5+worker), "wait=100ms")
		if len(got) == 0 || worker%3 == 0 && died.Add(1) < 20 { // with what it has
			return nil
		}
		answer := mine.ack(tokensOf(got))
		if answer.status == http.StatusNoContent {
			return textsOf(got)
		}

		// It took too long: another worker gets those whose lease has ended. The others are acknowledged.
		var lost problem
		if answer.status != http.StatusConflict || !assert.NoError(t, json.Unmarshal([]byte(answer.body), &lost)) {
			return nil
		}
		return textsOf(slices.DeleteFunc(got, func(m message) bool { return slices.Contains(lost.Tokens, m.Token) }))
	})

	assert.Len(t, seen, total)
	for text, times := range seen {
		assert.Equal(t, 1, times, "message %s was acknowledged more than once", text)
	}
	assert.Zero(t, c.via(second).describe().Size)
}

func TestLease_ThousandsFitHoweverSmallMessagesAre(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	cfg.MaxMessageBytes = 1000
	a := startAPI(t, cfg)
	a.createTopic("T")
	c := a.register("T", object{"mode": "lease", "max_in_flight": 10_000})
	const messages = 3000
	a.fill("T", 0, messages)

	got := c.fetch("limit=10000")

	same(t, numbers(0, messages), textsOf(got))
	c.ack(tokensOf(got)).is(http.StatusNoContent)
	assert.Zero(t, c.describe().Size)
}

func TestLease_RawFetchHasTheTokenInAHeader(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 1)
	c := a.register("T", object{"mode": "lease", "start": "first"})

	raw := c.post("fetch?raw=true", nil).is(http.StatusOK)

	assert.Equal(t, "1", raw.header.Get("Dq-Deliveries"))
	c.ack([]string{raw.header.Get("Dq-Token")}).is(http.StatusNoContent)
	assert.Zero(t, c.describe().Size)
}

func TestLease_BadCallsAreRefused(t *testing.T) {
	t.Parallel()
	refuseAll(t, func(f fixture) []refusal {
		return []refusal{
			{
				name: "ack in mode auto", call: "POST " + autoT + "/ack", body: `{"tokens":["` + f.token + `"]}`,
				status: 409, code: "wrong_mode", detail: "lease",
			},
			{name: "ack nothing", call: "POST " + leaseT + "/ack", status: 400, code: "invalid_json", detail: "JSON"},
			{
				name: "ack no tokens", call: "POST " + leaseT + "/ack", body: `{"tokens":[]}`,
				status: 400, code: "missing_field", detail: "tokens",
			},
			{
				name: "ack tokens and up to", call: "POST " + leaseT + "/ack", body: `{"tokens":["a"],"up_to":"a"}`,
				status: 400, code: "invalid_field", detail: "up_to",
			},
			{
				name: "ack with a delay", call: "POST " + leaseT + "/ack", body: `{"tokens":["a"],"delay":"1s"}`,
				status: 400, code: "invalid_field", detail: "delay",
			},
			{
				name: "ack nonsense", call: "POST " + leaseT + "/ack",
				body:   `{"tokens":["a","","0-0-0-0","` + f.token + `x","` + strings.Repeat("9", 100) + `"]}`,
				status: 409, code: "lease_lost", detail: "5",
			},
			{
				name: "ack a text", call: "POST " + leaseT + "/ack", body: `{"tokens":"a"}`,
				status: 400, code: "invalid_field", detail: "tokens",
			},
			{
				name: "nack up to", call: "POST " + leaseT + "/nack", body: `{"up_to":"a"}`,
				status: 400, code: "invalid_field", detail: "up_to",
			},
			{
				name: "nack for long", call: "POST " + leaseT + "/nack",
				body:   `{"tokens":["` + f.token + `"],"delay":"13h"}`,
				status: 400, code: "invalid_field", detail: "delay",
			},
			{
				name: "nack with a lease", call: "POST " + leaseT + "/nack",
				body:   `{"tokens":["` + f.token + `"],"lease":"1h"}`,
				status: 400, code: "invalid_field", detail: "lease",
			},
			{
				name: "extend by nothing", call: "POST " + leaseT + "/extend",
				body:   `{"tokens":["` + f.token + `"],"lease":"0s"}`,
				status: 400, code: "invalid_field", detail: "lease",
			},
		}
	})
}
