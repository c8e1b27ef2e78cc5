package test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

func TestLease_ExpiredMessageIsRedeliveredUntilItIsAcknowledged(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.topic("T", "")
		a.fill("T", 0, 2)
		const lease = 300 * time.Millisecond
		c := a.consumer("T", `{"mode":"lease","start":"first","lease":"300ms"}`)
		begin := time.Now()
		got := a.fetch("T", c.ID, "limit=10")
		assert.Equal(t, numbers(0, 2), textsOf(got))
		state := a.describe("T", c.ID)
		assert.EqualValues(t, []uint64{0, 2, 2, 2}, []uint64{state.Lag, state.InFlight, state.Size, state.Position})
		tokens := tokensOf(got)
		for deliveries := 1; ; deliveries++ {
			for _, m := range got {
				assert.Equal(t, deliveries, m.Deliveries)
			}
			if deliveries == 4 {
				break
			}
			got = a.fetch("T", c.ID, "limit=10&"+within)
			assert.False(t, time.Since(begin) < lease*time.Duration(deliveries), "a lease was over early")
			assert.Equal(t, numbers(0, 2), textsOf(got))
		}
		p := a.settle("T", c.ID, "ack", tokens, "").refuses(http.StatusConflict, "lease_lost")
		assert.Equal(t, tokens, p.Tokens, "an old token is worth nothing")
		p = a.settle("T", c.ID, "ack", []string{tokens[0], got[0].Token}, "").refuses(http.StatusConflict, "lease_lost")
		assert.Equal(t, tokens[:1], p.Tokens, "the others were dealt with")
		assert.EqualValues(t, 1, a.describe("T", c.ID).Size)
		a.settle("T", c.ID, "ack", []string{got[1].Token, got[1].Token}, "").is(http.StatusNoContent)
		assert.Empty(t, a.fetch("T", c.ID, "limit=10&wait=500ms"))
		assert.Zero(t, a.describe("T", c.ID).Size)
	})
}

func TestLease_AckUpToEndsAllEarlierLeases(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 0, 10)
	c := a.consumer("T", `{"mode":"lease","start":"first"}`)
	got := append(a.fetch("T", c.ID, "limit=3"), a.fetch("T", c.ID, "limit=4")...)
	a.settle("T", c.ID, "nack", tokensOf(got[1:2]), `,"delay":"1h"`).is(http.StatusNoContent)
	upTo := path("T", "consumers", c.ID, "ack")
	a.post(upTo, fmt.Sprintf(`{"up_to":"%s"}`, got[4].Token)).is(http.StatusNoContent)
	state := a.describe("T", c.ID)
	assert.EqualValues(t, []uint64{2, 3, 5}, []uint64{state.InFlight, state.Lag, state.Size})
	a.post(upTo, fmt.Sprintf(`{"up_to":"%s"}`, got[4].Token)).refuses(http.StatusConflict, "lease_lost")
	a.settle("T", c.ID, "ack", tokensOf(got[5:]), "").is(http.StatusNoContent)
	assert.Equal(t, numbers(7, 3), a.drain("T", c.ID))
}

func TestLease_NackRedeliversAfterItsDelay(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	first.fill("T", 0, 3)
	c := first.consumer("T", `{"mode":"lease","start":"first","lease":"1h"}`)
	got := first.fetch("T", c.ID, "limit=3")
	first.settle("T", c.ID, "nack", tokensOf(got[1:2]), "").is(http.StatusNoContent)
	again := first.fetch("T", c.ID, "limit=3")
	require.Equal(t, []string{"1"}, textsOf(again), "at once")
	assert.Equal(t, 2, again[0].Deliveries)

	begin := time.Now()
	first.settle("T", c.ID, "nack", tokensOf(got[2:]), `,"delay":"400ms"`).is(http.StatusNoContent)
	assert.Equal(t, []string{"2"}, textsOf(second.fetch("T", c.ID, within)), "the end of the delay ends the wait, on every broker")
	assert.False(t, time.Since(begin) < 400*time.Millisecond)

	for _, nack := range []api{first, second} {
		poll := make(chan []message, 1)
		go func() { poll <- first.fetch("T", c.ID, within) }()
		require.Empty(t, second.fetch("T", c.ID, "wait=100ms"))
		nack.settle("T", c.ID, "nack", tokensOf(got[:1]), "").is(http.StatusNoContent)
		got = <-poll
		require.Equal(t, []string{"0"}, textsOf(got), "a nack ends the wait of a poll")
	}
}

func TestLease_ExtendedLeaseEndsLater(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 0, 3)
	c := a.consumer("T", `{"mode":"lease","start":"first","lease":"500ms"}`)
	begin := time.Now()
	got := a.fetch("T", c.ID, "limit=3")
	a.settle("T", c.ID, "extend", tokensOf(got[:1]), `,"lease":"1h"`).is(http.StatusNoContent)
	a.settle("T", c.ID, "extend", tokensOf(got[1:2]), `,"lease":"1500ms"`).is(http.StatusNoContent)
	a.settle("T", c.ID, "extend", tokensOf(got[2:]), "").is(http.StatusNoContent)
	next := a.fetch("T", c.ID, within)
	assert.Equal(t, []string{"2"}, textsOf(next), "by default it is the lease of the consumer, from now")
	assert.False(t, time.Since(begin) < 500*time.Millisecond)
	a.settle("T", c.ID, "ack", tokensOf(next), "").is(http.StatusNoContent)
	assert.Equal(t, []string{"1"}, textsOf(a.fetch("T", c.ID, within)))
	assert.False(t, time.Since(begin) < 1500*time.Millisecond, "a lease was over early")
	a.settle("T", c.ID, "ack", tokensOf(got[:1]), "").is(http.StatusNoContent)
}

func TestLease_MaxInFlightLimitsWhatIsHandedOut(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	first.fill("T", 0, 10)
	c := first.consumer("T", `{"mode":"lease","start":"first","max_in_flight":4}`)
	got := first.fetch("T", c.ID, "limit=3")
	require.Len(t, got, 3)
	require.Equal(t, []string{"3"}, second.drain("T", c.ID))
	assert.Empty(t, first.drain("T", c.ID))
	poll := make(chan []string, 1)
	go func() { poll <- textsOf(second.fetch("T", c.ID, "limit=10&"+within)) }()
	require.Empty(t, second.fetch("T", c.ID, "wait=100ms"))
	first.settle("T", c.ID, "ack", tokensOf(got[:2]), "").is(http.StatusNoContent)
	assert.Equal(t, numbers(4, 2), <-poll, "an ack makes room, and ends the wait")
}

func TestLease_TokenIsGoodOnEveryBrokerAndAfterAKill(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	first.fill("T", 0, 3)
	c := first.consumer("T", `{"mode":"lease","start":"first"}`)
	got := first.fetch("T", c.ID, "limit=3")
	second.settle("T", c.ID, "ack", tokensOf(got[:1]), "").is(http.StatusNoContent)
	second.settle("T", c.ID, "extend", tokensOf(got[1:2]), `,"lease":"1h"`).is(http.StatusNoContent)
	second.settle("T", c.ID, "nack", tokensOf(got[2:]), "").is(http.StatusNoContent)
	first.settle("T", c.ID, "ack", tokensOf(got[:1]), "").refuses(http.StatusConflict, "lease_lost")
	assert.Equal(t, []string{"2"}, textsOf(first.fetch("T", c.ID, "limit=3")))

	dir := t.TempDir()
	a, kill := startToKill(t, dir)
	a.topic("T", "")
	a.fill("T", 0, 3)
	const lease = 3 * time.Second
	c = a.consumer("T", fmt.Sprintf(`{"name":"n","mode":"lease","start":"first","lease":"%s"}`, lease))
	begin := time.Now()
	got = a.fetch("T", "n", "limit=2")
	a.settle("T", "n", "nack", tokensOf(got[:1]), "").is(http.StatusNoContent)
	again := a.fetch("T", "n", "")
	kill()
	a, _ = startToKill(t, dir)
	state := a.describe("T", c.ID)
	assert.EqualValues(t, []uint64{1, 2}, []uint64{state.Lag, state.InFlight}, "leases outlive the broker")
	a.settle("T", "n", "ack", tokensOf(got[:1]), "").refuses(http.StatusConflict, "lease_lost")
	a.settle("T", "n", "ack", tokensOf(got[1:]), "").is(http.StatusNoContent)
	assert.Equal(t, []string{"2"}, a.drain("T", "n"))
	next := a.fetch("T", "n", within)
	assert.False(t, time.Since(begin) < lease, "a lease was over early")
	require.Equal(t, textsOf(again), textsOf(next))
	assert.Equal(t, 3, next[0].Deliveries, "so do the counts")
}

func TestLease_TokenIsGoodForItsConsumerOnly(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 0, 2)
	const spec = `{"name":"n","mode":"lease","start":"first"}`
	a.consumer("T", spec)
	other := a.consumer("T", strings.Replace(spec, `"n"`, `"o"`, 1))
	old := tokensOf(a.fetch("T", "n", "limit=2"))
	require.Len(t, a.fetch("T", other.ID, "limit=2"), 2)
	a.settle("T", other.ID, "ack", old, "").refuses(http.StatusConflict, "lease_lost")
	a.del(path("T", "consumers", "n")).is(http.StatusNoContent)
	a.consumer("T", spec)
	require.Len(t, a.fetch("T", "n", "limit=2"), 2)
	for _, op := range []string{"ack", "nack", "extend"} {
		p := a.settle("T", "n", op, old, "").refuses(http.StatusConflict, "lease_lost")
		assert.Equal(t, old, p.Tokens)
	}
	assert.EqualValues(t, 2, a.describe("T", "n").InFlight)
}

func TestLease_SeekEndsAllLeases(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 0, 3)
	c := a.consumer("T", `{"mode":"lease","start":"first"}`)
	old := tokensOf(a.fetch("T", c.ID, "limit=3"))
	a.post(path("T", "consumers", c.ID, "seek"), `{"to":"first"}`).is(http.StatusOK)
	got := a.fetch("T", c.ID, "limit=3")
	assert.Equal(t, numbers(0, 3), textsOf(got))
	assert.Equal(t, 1, got[0].Deliveries)
	p := a.settle("T", c.ID, "ack", old, "").refuses(http.StatusConflict, "lease_lost")
	assert.Equal(t, old, p.Tokens, "even though the messages are handed out as often again")
	a.settle("T", c.ID, "ack", tokensOf(got), "").is(http.StatusNoContent)
}

func TestLease_RemovedMessageCanStillBeAcknowledged(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 0, 4)
	c := a.consumer("T", `{"mode":"lease","start":"first"}`)
	got := a.fetch("T", c.ID, "limit=3")
	a.del(path("T", "messages") + "?up_to=2").is(http.StatusOK)
	a.settle("T", c.ID, "ack", tokensOf(got[:1]), "").is(http.StatusNoContent)
	a.settle("T", c.ID, "nack", tokensOf(got[1:]), "").is(http.StatusNoContent)
	assert.Equal(t, numbers(2, 2), a.drain("T", c.ID))
	assert.EqualValues(t, 2, a.describe("T", c.ID).Size)
}

func TestLease_WorkersThatDieLoseNothing(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	c := first.consumer("T", `{"name":"c","mode":"lease","lease":"1s"}`)
	const total = 500
	first.fill("T", 0, total)
	var died atomic.Int32
	seen := collect(t, total, []api{first, second}, func(a api, worker int) []string {
		got := a.fetch("T", "c", fmt.Sprintf("limit=%d&wait=100ms", 5+worker))
		if len(got) == 0 || worker%3 == 0 && died.Add(1) < 20 { // with what it has
			return nil
		}
		if a.settle("T", "c", "ack", tokensOf(got), "").status != http.StatusNoContent {
			return nil // it took too long: another worker gets them
		}
		return textsOf(got)
	})
	assert.Len(t, seen, total)
	for text, times := range seen {
		assert.Equal(t, 1, times, "message %s was acknowledged more than once", text)
	}
	assert.Zero(t, second.describe("T", c.ID).Size)
}

func TestLease_ThousandsFitHoweverSmallMessagesAre(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	cfg.MaxMessageBytes = 1000
	a := startAPI(t, cfg)
	a.topic("T", "")
	c := a.consumer("T", `{"mode":"lease","max_in_flight":10000}`)
	const messages = 3000
	a.fill("T", 0, messages)
	got := a.fetch("T", c.ID, "limit=10000")
	same(t, numbers(0, messages), textsOf(got))
	a.settle("T", c.ID, "ack", tokensOf(got), "").is(http.StatusNoContent)
	assert.Zero(t, a.describe("T", c.ID).Size)
}

func TestLease_RawFetchHasTheTokenInAHeader(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 0, 1)
	c := a.consumer("T", `{"mode":"lease","start":"first"}`)
	raw := a.post(path("T", "consumers", c.ID, "fetch")+"?raw=true", "").is(http.StatusOK)
	assert.Equal(t, "1", raw.header.Get("Dq-Deliveries"))
	a.settle("T", c.ID, "ack", []string{raw.header.Get("Dq-Token")}, "").is(http.StatusNoContent)
	assert.Zero(t, a.describe("T", c.ID).Size)
}
