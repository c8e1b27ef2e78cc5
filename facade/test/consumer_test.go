package test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

func TestConsumer_StartsWhereItIsTold(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 1, 3)
	third := a.produce("T", `{"data":"4"}`)[0].Time
	a.fill("T", 5, 2)
	a.del(path("T", "messages") + "?up_to=1").is(http.StatusOK)
	tests := []struct {
		start string
		first int // 7: what is produced from now on
	}{
		{``, 7},
		{`"new"`, 7},
		{`"first"`, 2},
		{`0`, 2},
		{`1`, 2},
		{`2`, 2},
		{`4`, 4},
		{`"4"`, 4},
		{`7`, 7},
		{`"2001-01-01T00:00:00Z"`, 2},
		{`"1600-01-01T00:00:00Z"`, 2},
		{`"2300-01-01T00:00:00Z"`, 7},
		{`"` + third.Format(time.RFC3339Nano) + `"`, 4},
		{`"` + third.In(time.FixedZone("", 3600)).Format(time.RFC3339Nano) + `"`, 4},
		{`"` + time.Now().UTC().Add(time.Hour).Format(time.RFC3339) + `"`, 7},
	}
	consumers := make([]consumer, len(tests))
	for i, test := range tests {
		spec := ""
		if test.start != "" {
			spec = fmt.Sprintf(`{"start":%s}`, test.start)
		}
		consumers[i] = a.consumer("T", spec)
	}
	a.fill("T", 7, 1)
	for i, test := range tests {
		assert.Equal(t, "auto", consumers[i].Mode)
		assert.EqualValues(t, 7-test.first, consumers[i].Size, "start %s", test.start)
		assert.EqualValues(t, 8-test.first, a.describe("T", consumers[i].ID).Lag)
		assert.Equal(t, numbers(test.first, 8-test.first), a.drain("T", consumers[i].ID), "start %s", test.start)
	}
	a.post(path("none", "consumers"), "").refuses(http.StatusNotFound, "topic_not_found")
}

func TestConsumer_NameIsRegisteredOnce(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	first.topic("U", "")
	first.fill("T", 1, 2)
	const spec = `{"name":"n","start":"first","mode":"lease","lease":"1m","max_in_flight":5,"max_deliveries":3,"dead_letter_topic":"D","key":"k"}`
	made := first.consumer("T", spec)
	want := consumer{ID: made.ID, Name: "n", Topic: "T", Key: "k", Mode: "lease", Lease: "1m0s", MaxInFlight: 5, MaxDeliveries: 3, DeadLetterTopic: "D"}
	assert.Equal(t, want, made)
	var again consumer
	second.post(path("T", "consumers"), spec).is(http.StatusOK).into(&again)
	assert.Equal(t, made, again)
	other := `{"name":"n","start":"new","mode":"lease","lease":"1m0s","max_in_flight":5,"max_deliveries":3,"dead_letter_topic":"D","key":"k"}`
	second.post(path("T", "consumers"), other).is(http.StatusOK).into(&again)
	assert.Equal(t, made, again, "the start counts once")
	for _, spec := range []string{
		`{"name":"n"}`,
		`{"name":"n","mode":"lease"}`,
		`{"name":"n","mode":"lease","lease":"2m","max_in_flight":5,"max_deliveries":3,"dead_letter_topic":"D","key":"k"}`,
		`{"name":"n","mode":"lease","lease":"1m","max_in_flight":5,"max_deliveries":3,"dead_letter_topic":"D"}`,
	} {
		second.post(path("T", "consumers"), spec).refuses(http.StatusConflict, "other_settings")
	}
	assert.NotEqual(t, made.ID, first.consumer("U", spec).ID, "a name is that of a topic")

	var ids sync.Map
	var done sync.WaitGroup
	for i := range 16 {
		done.Go(func() {
			var out consumer
			r := []api{first, second}[i%2].post(path("T", "consumers"), `{"name":"race"}`)
			r.into(&out)
			ids.Store(out.ID, r.status)
		})
	}
	done.Wait()
	count := 0
	ids.Range(func(any, any) bool { count++; return true })
	assert.Equal(t, 1, count, "whoever asks gets the same")

	var list struct{ Consumers []consumer }
	second.get(path("T", "consumers")).is(http.StatusOK).into(&list)
	assert.Len(t, list.Consumers, 2)
	second.del(path("T", "consumers", "n")).is(http.StatusNoContent)
	first.get(path("T", "consumers", "n")).refuses(http.StatusNotFound, "consumer_not_found")
	assert.Greater(t, first.consumer("T", `{"name":"n"}`).ID, made.ID)
}

func TestConsumer_ListHasPages(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.topic("U", "")
	var want, got []int64
	for range 5 {
		want = append(want, a.consumer("T", "").ID)
		a.consumer("U", "")
	}
	query := "?limit=2"
	for {
		var page struct {
			Consumers []consumer
			Next      *int64
		}
		a.get(path("T", "consumers") + query).is(http.StatusOK).into(&page)
		for _, c := range page.Consumers {
			got = append(got, c.ID)
		}
		if page.Next == nil {
			break
		}
		query = fmt.Sprintf("?limit=2&after=%d", *page.Next)
	}
	assert.Equal(t, want, got)
}

func TestConsumer_WithAKeySeesOnlyThatKey(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	keys := []string{"a", "A", "a.b", "*", ">", " ", "ünï", "=", "a=2Eb", "\n"}
	for i := range 30 {
		a.produce("T", fmt.Sprintf(`[{"data":"none"},{"data":"%d","key":%s}]`, i, jsonOf(t, keys[i%len(keys)])))
	}
	for i, key := range keys {
		for _, mode := range []string{"auto", "lease"} {
			c := a.consumer("T", fmt.Sprintf(`{"start":"first","mode":"%s","key":%s}`, mode, jsonOf(t, key)))
			assert.EqualValues(t, 3, c.Lag, "key %q", key)
			want := []string{fmt.Sprint(i), fmt.Sprint(i + 10), fmt.Sprint(i + 20)}
			assert.Equal(t, want[:1], textsOf(a.fetch("T", c.ID, "")))
			assert.EqualValues(t, 2, a.describe("T", c.ID).Lag)
			assert.Equal(t, want[1:], a.drain("T", c.ID), "key %q", key)
			assert.Empty(t, a.drain("T", c.ID))
			assert.Zero(t, a.describe("T", c.ID).Lag)
		}
	}
	browsed := a.get(path("T", "messages") + "?key=a.b&limit=2").is(http.StatusOK).messages()
	assert.Equal(t, []string{"2", "12"}, textsOf(browsed))

	c := a.consumer("T", `{"start":"first","key":"a"}`)
	a.del(path("T", "messages") + "?up_to=30").is(http.StatusOK)
	assert.EqualValues(t, 1, a.describe("T", c.ID).Lag)
	a.produce("T", `[{"data":"more","key":"b"},{"data":"more","key":"a"}]`)
	assert.EqualValues(t, 2, a.describe("T", c.ID).Lag)
	assert.Equal(t, []string{"20", "more"}, a.drain("T", c.ID))
	a.del(path("T", "messages")).is(http.StatusOK)
	assert.Empty(t, a.fetch("T", c.ID, ""))
	assert.Zero(t, a.describe("T", c.ID).Lag)
}

func TestConsumer_AutoNeverGetsAMessageAgainEvenAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, kill := startToKill(t, dir)
	a.topic("T", "")
	c := a.consumer("T", `{"name":"c"}`)
	a.fill("T", 0, 30)
	for i := range 3 {
		assert.Equal(t, numbers(10*i, 7), textsOf(a.fetch("T", "c", "limit=7")))
		kill()
		a, kill = startToKill(t, dir)
		assert.EqualValues(t, 23-10*i, a.describe("T", "c").Size)
		assert.Equal(t, numbers(10*i+7, 3), textsOf(a.fetch("T", c.ID, "limit=3")))
	}
	assert.Empty(t, a.drain("T", "c"))
}

func TestConsumer_SeekMovesItAnywhere(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	first.fill("T", 1, 3)
	at := first.produce("T", `{"data":"4"}`)[0].Time
	first.fill("T", 5, 2)
	for _, mode := range []string{"auto", "lease"} {
		c := first.consumer("T", fmt.Sprintf(`{"mode":"%s","start":"first"}`, mode))
		require.Len(t, first.fetch("T", c.ID, "limit=2"), 2)
		tests := []struct {
			to    string
			first int
		}{
			{`"first"`, 1}, {`3`, 3}, {`"5"`, 5}, {`"new"`, 7}, {`"` + at.Format(time.RFC3339Nano) + `"`, 4}, {`"first"`, 1}, {`1000`, 7},
		}
		for _, test := range tests {
			var moved consumer
			first.post(path("T", "consumers", c.ID, "seek"), fmt.Sprintf(`{"to":%s}`, test.to)).is(http.StatusOK).into(&moved)
			assert.EqualValues(t, 7-test.first, moved.Size, "to %s", test.to)
			assert.EqualValues(t, 0, moved.InFlight)
			assert.Equal(t, numbers(test.first, 7-test.first), second.drain("T", c.ID), "to %s", test.to)
		}
	}
}

func TestConsumer_PausedGetsNothingUntilItIsResumed(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	for _, mode := range []string{"auto", "lease"} {
		c := first.consumer("T", fmt.Sprintf(`{"mode":"%s"}`, mode))
		first.fill("T", 0, 2)
		pause := path("T", "consumers", c.ID, "pause")
		var out consumer
		first.post(pause, `{"for":"1h"}`).is(http.StatusOK).into(&out)
		assert.WithinDuration(t, time.Now().Add(time.Hour), out.PausedUntil, time.Minute)
		assert.Empty(t, first.drain("T", c.ID))
		assert.Empty(t, second.drain("T", c.ID), "on every broker")
		assert.EqualValues(t, 2, second.describe("T", c.ID).Size)
		second.post(path("T", "consumers", c.ID, "resume"), "").is(http.StatusOK)
		assert.Len(t, first.fetch("T", c.ID, ""), 1)

		begin := time.Now()
		first.post(pause, `{"for":"500ms"}`).is(http.StatusOK)
		assert.Len(t, second.fetch("T", c.ID, within), 1, "the end of the pause ends the wait")
		assert.False(t, time.Since(begin) < 500*time.Millisecond)
		out = consumer{}
		first.post(path("T", "consumers", c.ID, "resume"), "").is(http.StatusOK).into(&out)
		assert.Zero(t, out.PausedUntil)
	}
}

func TestConsumer_DeletedIsGoneOnEveryBroker(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	for _, mode := range []string{"auto", "lease"} {
		c := first.consumer("T", fmt.Sprintf(`{"mode":"%s","name":"%s"}`, mode, mode))
		first.fill("T", 0, 1)
		require.Len(t, second.fetch("T", c.ID, ""), 1)
		polls := make(chan response, 2)
		for _, a := range []api{first, second} {
			go func() { polls <- a.post(path("T", "consumers", c.ID, "fetch")+"?"+within, "") }()
		}
		// A message for another consumer tells that the polls had time to begin.
		other := first.consumer("T", "")
		require.Empty(t, first.fetch("T", other.ID, "wait=300ms"))
		first.del(path("T", "consumers", c.ID)).is(http.StatusNoContent)
		first.fill("T", 1, 1)
		for range 2 {
			(<-polls).refuses(http.StatusNotFound, "consumer_not_found")
		}
		first.post(path("T", "consumers", c.ID, "fetch"), "").refuses(http.StatusNotFound, "consumer_not_found")
		first.del(path("T", "consumers", c.ID)).refuses(http.StatusNotFound, "consumer_not_found")
		require.Eventually(t, func() bool {
			return second.get(path("T", "consumers", c.ID)).status == http.StatusNotFound
		}, 10*time.Second, 5*time.Millisecond)
	}
}
