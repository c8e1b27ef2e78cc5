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
	a.createTopic("T")
	a.fill("T", 1, 3)
	fourth := a.produce("T", object{"data": "4"})[0].Time
	a.fill("T", 5, 2)
	a.purge("T", "up_to=1")
	tests := []struct {
		start any // nil: the registration has no start
		first int // 7: what is produced from now on
	}{
		{start: nil, first: 7},
		{start: "new", first: 7},
		{start: "first", first: 2},
		{start: 0, first: 2},
		{start: 1, first: 2},
		{start: 2, first: 2},
		{start: 4, first: 4},
		{start: "4", first: 4},
		{start: 7, first: 7},
		{start: "2001-01-01T00:00:00Z", first: 2},
		{start: "1600-01-01T00:00:00Z", first: 2},
		{start: "2300-01-01T00:00:00Z", first: 7},
		{start: fourth.Format(time.RFC3339Nano), first: 4},
		{start: fourth.In(time.FixedZone("", 3600)).Format(time.RFC3339Nano), first: 4},
		{start: time.Now().UTC().Add(time.Hour).Format(time.RFC3339), first: 7},
	}

	consumers := make([]consumer, len(tests))
	for i, test := range tests {
		if test.start == nil {
			consumers[i] = a.register("T")
		} else {
			consumers[i] = a.register("T", object{"start": test.start})
		}
	}
	a.fill("T", 7, 1)

	for i, test := range tests {
		c := consumers[i]
		assert.Equal(t, "auto", c.Mode)
		assert.EqualValues(t, 7-test.first, c.Size, "start %v", test.start)
		assert.EqualValues(t, 8-test.first, c.describe().Lag)
		assert.Equal(t, numbers(test.first, 8-test.first), c.drain(), "start %v", test.start)
	}
	a.post(path("none", "consumers"), nil).refuses(http.StatusNotFound, "topic_not_found")
}

func TestConsumer_NameIsRegisteredOnce(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	first.createTopic("U")
	first.fill("T", 1, 2)
	spec := func(start, lease string) object {
		return object{
			"name": "n", "key": "k", "start": start, "mode": "lease", "lease": lease,
			"max_in_flight": 5, "max_deliveries": 3, "dead_letter_topic": "D",
		}
	}
	withoutKey := spec("first", "1m")
	delete(withoutKey, "key")

	made := first.register("T", spec("first", "1m"))
	var again, laterStart consumerState
	second.post(path("T", "consumers"), spec("first", "1m")).is(http.StatusOK).into(&again)
	second.post(path("T", "consumers"), spec("new", "1m0s")).is(http.StatusOK).into(&laterStart)

	want := consumerState{
		ID: made.ID, Name: "n", Topic: "T", Key: "k", Mode: "lease", Lease: "1m0s",
		MaxInFlight: 5, MaxDeliveries: 3, DeadLetterTopic: "D",
	}
	assert.Equal(t, want, made.consumerState)
	assert.Equal(t, want, again)
	assert.Equal(t, want, laterStart, "the start counts once")

	for _, other := range []object{{"name": "n"}, {"name": "n", "mode": "lease"}, spec("first", "2m"), withoutKey} {
		second.post(path("T", "consumers"), other).refuses(http.StatusConflict, "other_settings")
	}
	assert.NotEqual(t, made.ID, first.register("U", spec("first", "1m")).ID, "a name is that of a topic")

	var list struct{ Consumers []consumerState }
	second.get(path("T", "consumers")).is(http.StatusOK).into(&list)
	assert.Len(t, list.Consumers, 1)
	second.consumer("T", "n").del().is(http.StatusNoContent)
	first.get(path("T", "consumers", "n")).refuses(http.StatusNotFound, "consumer_not_found")
	assert.Greater(t, first.register("T", object{"name": "n"}).ID, made.ID)
}

func TestConsumer_ConcurrentRegistrationsOfANameGetTheSame(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")

	var ids sync.Map
	var registrations sync.WaitGroup
	for i := range 16 {
		registrations.Go(func() {
			var out consumerState
			r := []api{first, second}[i%2].post(path("T", "consumers"), object{"name": "race"})
			r.into(&out)
			ids.Store(out.ID, r.status)
		})
	}
	registrations.Wait()

	count := 0
	ids.Range(func(any, any) bool { count++; return true })
	assert.Equal(t, 1, count)
	var list struct{ Consumers []consumerState }
	second.get(path("T", "consumers")).is(http.StatusOK).into(&list)
	assert.Len(t, list.Consumers, 1)
}

func TestConsumer_ListHasPages(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.createTopic("U")
	var want []int64
	for range 5 {
		want = append(want, a.register("T").ID)
		a.register("U")
	}

	var got []int64
	query := "?limit=2"
	for {
		var page struct {
			Consumers []consumerState
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
	a.createTopic("T")
	keys := []string{"a", "A", "a.b", "*", ">", " ", "ünï", "=", "a=2Eb", "\n"}
	for i := range 30 {
		a.produce("T", []object{{"data": "none"}, {"data": fmt.Sprint(i), "key": keys[i%len(keys)]}})
	}

	for i, key := range keys {
		for _, mode := range []string{"auto", "lease"} {
			c := a.register("T", object{"start": "first", "mode": mode, "key": key})

			want := []string{fmt.Sprint(i), fmt.Sprint(i + 10), fmt.Sprint(i + 20)}
			assert.EqualValues(t, 3, c.Lag, "key %q", key)
			assert.Equal(t, want[:1], textsOf(c.fetch()))
			assert.EqualValues(t, 2, c.describe().Lag)
			assert.Equal(t, want[1:], c.drain(), "key %q", key)
			assert.Empty(t, c.drain())
			assert.Zero(t, c.describe().Lag)
		}
	}
	assert.Equal(t, []string{"2", "12"}, textsOf(a.browse("T", "key=a.b", "limit=2")))
}

func TestConsumer_LagOfAKeyFollowsPurges(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	for i := range 3 {
		a.produce("T", []object{{"data": fmt.Sprint(i), "key": "a"}, {"data": "none"}})
	}
	c := a.register("T", object{"start": "first", "key": "a"})

	a.purge("T", "up_to=4")

	assert.EqualValues(t, 1, c.describe().Lag)

	a.produce("T", []object{{"data": "more", "key": "b"}, {"data": "more", "key": "a"}})

	assert.EqualValues(t, 2, c.describe().Lag)
	assert.Equal(t, []string{"2", "more"}, c.drain())

	a.purge("T")

	assert.Empty(t, c.fetch())
	assert.Zero(t, c.describe().Lag)
}

func TestConsumer_AutoNeverGetsAMessageAgainEvenAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, kill := startToKill(t, dir)
	a.createTopic("T")
	id := a.register("T", object{"name": "c"}).ID
	a.fill("T", 0, 30)

	for i := range 3 {
		assert.Equal(t, numbers(10*i, 7), textsOf(a.consumer("T", "c").fetch("limit=7")))

		kill()
		a, kill = startToKill(t, dir)

		assert.EqualValues(t, 23-10*i, a.consumer("T", "c").describe().Size)
		assert.Equal(t, numbers(10*i+7, 3), textsOf(a.consumer("T", id).fetch("limit=3")))
	}
	assert.Empty(t, a.consumer("T", "c").drain())
}

func TestConsumer_SeekMovesItAnywhere(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	first.fill("T", 1, 3)
	fourth := first.produce("T", object{"data": "4"})[0].Time
	first.fill("T", 5, 2)
	tests := []struct {
		to    any
		first int
	}{
		{to: "first", first: 1},
		{to: 3, first: 3},
		{to: "5", first: 5},
		{to: "new", first: 7},
		{to: fourth.Format(time.RFC3339Nano), first: 4},
		{to: "first", first: 1},
		{to: 1000, first: 7},
	}

	for _, mode := range []string{"auto", "lease"} {
		c := first.register("T", object{"mode": mode, "start": "first"})
		require.Len(t, c.fetch("limit=2"), 2)

		for _, test := range tests {
			moved := c.seek(test.to)

			assert.EqualValues(t, 7-test.first, moved.Size, "to %v", test.to)
			assert.EqualValues(t, 0, moved.InFlight)
			assert.Equal(t, numbers(test.first, 7-test.first), c.via(second).drain(), "to %v", test.to)
		}
	}
}

func TestConsumer_PausedGetsNothingUntilItIsResumed(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	for _, mode := range []string{"auto", "lease"} {
		c := first.register("T", object{"mode": mode})
		first.fill("T", 0, 2)

		paused := c.pause(time.Hour)

		assert.WithinDuration(t, time.Now().Add(time.Hour), paused.PausedUntil, time.Minute)
		assert.Empty(t, c.drain())
		assert.Empty(t, c.via(second).drain(), "on every broker")
		assert.EqualValues(t, 2, c.via(second).describe().Size)

		resumed := c.via(second).resume()

		assert.Zero(t, resumed.PausedUntil)
		assert.Len(t, c.fetch(), 1)
	}
}

func TestConsumer_EndOfAPauseEndsALongPoll(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	for _, mode := range []string{"auto", "lease"} {
		c := first.register("T", object{"mode": mode})
		first.fill("T", 0, 1)
		const pause = 500 * time.Millisecond
		begin := time.Now()

		c.pause(pause)

		assert.Len(t, c.via(second).fetch(within), 1, "the end of the pause ends the wait")
		assert.False(t, time.Since(begin) < pause)
		assert.Zero(t, c.resume().PausedUntil)
	}
}

func TestConsumer_DeletedIsGoneOnEveryBroker(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	for _, mode := range []string{"auto", "lease"} {
		c := first.register("T", object{"mode": mode, "name": mode})
		first.fill("T", 0, 1)
		require.Len(t, c.via(second).fetch(), 1)
		polls := make(chan response, 2)
		for _, a := range []api{first, second} {
			go func() { polls <- c.via(a).post("fetch?"+within, nil) }()
		}
		require.Empty(t, first.register("T").fetch("wait=300ms")) // by then the polls wait

		c.del().is(http.StatusNoContent)

		first.fill("T", 1, 1)
		for range 2 {
			(<-polls).refuses(http.StatusNotFound, "consumer_not_found")
		}
		c.post("fetch", nil).refuses(http.StatusNotFound, "consumer_not_found")
		c.del().refuses(http.StatusNotFound, "consumer_not_found")
		require.Eventually(t, func() bool {
			return second.get(c.path).status == http.StatusNotFound
		}, 10*time.Second, 5*time.Millisecond, "the other broker hears of it")
	}
}

func TestConsumer_BadCallsAreRefused(t *testing.T) {
	t.Parallel()
	refuseAll(t, func(f fixture) []refusal {
		return []refusal{
			{
				name: "a consumer of nothing", call: "POST " + noTopic + "/consumers",
				status: 404, code: "topic_not_found", detail: "none",
			},
			{
				name: "null for a consumer", call: "POST " + topicT + "/consumers", body: "null",
				status: 400, code: "invalid_json", detail: "object",
			},
			{
				name: "a list for a consumer", call: "POST " + topicT + "/consumers", body: "[]",
				status: 400, code: "invalid_json", detail: "object",
			},
			{
				name: "an unknown field of a consumer", call: "POST " + topicT + "/consumers", body: `{"group":"g"}`,
				status: 400, code: "invalid_field", detail: "group",
			},
			{
				name: "a number for a name", call: "POST " + topicT + "/consumers", body: `{"name":"12"}`,
				status: 400, code: "invalid_field", detail: "name",
			},
			{
				name: "a name with a slash", call: "POST " + topicT + "/consumers", body: `{"name":"a/b"}`,
				status: 400, code: "invalid_field", detail: "name",
			},
			{
				name: "a name of dots", call: "POST " + topicT + "/consumers", body: `{"name":".."}`,
				status: 400, code: "invalid_field", detail: "name",
			},
			{
				name: "a long name of a consumer", call: "POST " + topicT + "/consumers",
				body:   `{"name":"` + tooLong + `"}`,
				status: 400, code: "invalid_field", detail: "128",
			},
			{
				name: "a start at a word", call: "POST " + topicT + "/consumers", body: `{"start":"last"}`,
				status: 400, code: "invalid_field", detail: "start",
			},
			{
				name: "a start at a fraction", call: "POST " + topicT + "/consumers", body: `{"start":1.5}`,
				status: 400, code: "invalid_field", detail: "start",
			},
			{
				name: "a start at true", call: "POST " + topicT + "/consumers", body: `{"start":true}`,
				status: 400, code: "invalid_field", detail: "start",
			},
			{
				name: "an unknown mode", call: "POST " + topicT + "/consumers", body: `{"mode":"exactly-once"}`,
				status: 400, code: "invalid_field", detail: "mode",
			},
			{
				name: "a lease in mode auto", call: "POST " + topicT + "/consumers", body: `{"lease":"1s"}`,
				status: 400, code: "invalid_field", detail: "mode",
			},
			{
				name: "a short lease", call: "POST " + topicT + "/consumers", body: `{"mode":"lease","lease":"1ms"}`,
				status: 400, code: "invalid_field", detail: "100ms",
			},
			{
				name: "a long lease", call: "POST " + topicT + "/consumers", body: `{"mode":"lease","lease":"13h"}`,
				status: 400, code: "invalid_field", detail: "12h",
			},
			{
				name: "none in flight", call: "POST " + topicT + "/consumers",
				body:   `{"mode":"lease","max_in_flight":0}`,
				status: 400, code: "invalid_field", detail: "max_in_flight",
			},
			{
				name: "too many in flight", call: "POST " + topicT + "/consumers",
				body:   `{"mode":"lease","max_in_flight":10001}`,
				status: 400, code: "invalid_field", detail: "10000",
			},
			{
				name: "negative deliveries", call: "POST " + topicT + "/consumers",
				body:   `{"mode":"lease","max_deliveries":-1}`,
				status: 400, code: "invalid_field", detail: "max_deliveries",
			},
			{
				name: "a dead-letter topic for nothing", call: "POST " + topicT + "/consumers",
				body:   `{"mode":"lease","dead_letter_topic":"D"}`,
				status: 400, code: "invalid_field", detail: "max_deliveries",
			},
			{
				name: "a reserved dead-letter topic", call: "POST " + topicT + "/consumers",
				body:   `{"mode":"lease","max_deliveries":1,"dead_letter_topic":"publ"}`,
				status: 422, code: "invalid_topic_name", detail: "publ",
			},
			{
				name: "a dead-letter topic that is the topic", call: "POST " + topicT + "/consumers",
				body:   `{"mode":"lease","max_deliveries":1,"dead_letter_topic":"T"}`,
				status: 422, code: "invalid_setting", detail: "another",
			},
			{
				name: "no consumer", call: "GET " + topicT + "/consumers/nobody",
				status: 404, code: "consumer_not_found", detail: "nobody",
			},
			{
				name: "no consumer of that id", call: "GET " + topicT + "/consumers/99",
				status: 404, code: "consumer_not_found", detail: "99",
			},
			{
				name: "a huge id", call: "GET " + topicT + "/consumers/99999999999999999999",
				status: 404, code: "consumer_not_found", detail: "99999999999999999999",
			},
			{
				name: "a negative id", call: "DELETE " + topicT + "/consumers/-1",
				status: 404, code: "consumer_not_found", detail: "-1",
			},
			{
				name: "a consumer of another topic", call: "DELETE " + fmt.Sprint(topicT, "/consumers/", f.ofU),
				status: 404, code: "consumer_not_found",
			},
			{
				name: "a page of consumers after a word", call: "GET " + topicT + "/consumers?after=x",
				status: 400, code: "invalid_field", detail: "after",
			},
			{
				name: "seek nowhere", call: "POST " + leaseT + "/seek", body: `{}`,
				status: 400, code: "missing_field", detail: "to",
			},
			{
				name: "seek to a word", call: "POST " + leaseT + "/seek", body: `{"to":"last"}`,
				status: 400, code: "invalid_field", detail: "to",
			},
			{
				name: "pause for ever", call: "POST " + leaseT + "/pause", body: `{}`,
				status: 400, code: "missing_field", detail: "for",
			},
			{
				name: "pause for no time", call: "POST " + leaseT + "/pause", body: `{"for":"0s"}`,
				status: 400, code: "invalid_field", detail: "for",
			},
			{
				name: "pause for years", call: "POST " + leaseT + "/pause", body: `{"for":"8761h"}`,
				status: 400, code: "invalid_field", detail: "for",
			},
		}
	})
}
