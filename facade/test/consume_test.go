package test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

func TestAConsumerStartsWhereItIsTold(t *testing.T) {
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

func TestANamedConsumerIsRegisteredOnce(t *testing.T) {
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

func TestConsumersAreListedByPage(t *testing.T) {
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

func TestAConsumerWithAKeySeesOnlyThatKey(t *testing.T) {
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

func TestAnAutoConsumerNeverGetsAMessageAgain(t *testing.T) {
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

func TestAFetchKeepsToItsLimits(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 100, 50) // of 3 bytes
	for _, mode := range []string{"auto", "lease"} {
		c := a.consumer("T", fmt.Sprintf(`{"start":"first","mode":"%s"}`, mode))
		assert.Len(t, a.fetch("T", c.ID, ""), 1)
		assert.Len(t, a.fetch("T", c.ID, "limit=5"), 5)
		assert.Len(t, a.fetch("T", c.ID, "limit=50&max_bytes=1"), 1)
		assert.Len(t, a.fetch("T", c.ID, "limit=50&max_bytes=7"), 3, "the message that reaches the bytes is the last")
		assert.Len(t, a.fetch("T", c.ID, "limit=50&max_bytes=1000"), 40)
		assert.EqualValues(t, 0, a.describe("T", c.ID).Lag)
	}
	browsed := a.get(path("T", "messages") + "?limit=50&max_bytes=7").messages()
	assert.NotEmpty(t, browsed)
	assert.LessOrEqual(t, len(browsed), 3)
}

func TestMessagesAreBrowsedWithoutAConsumer(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 1, 6)
	a.del(path("T", "messages") + "?up_to=2").is(http.StatusOK)
	at := a.produce("T", `{"data":"7"}`)[0].Time
	page := func(query string) (texts []string, next uint64) {
		var out struct {
			Messages []message
			Next     uint64
		}
		a.get(path("T", "messages") + query).is(http.StatusOK).into(&out)
		return textsOf(out.Messages), out.Next
	}
	for query, want := range map[string]struct{ from, n, next int }{
		"":                                     {3, 5, 8},
		"?from=first&limit=2":                  {3, 2, 5},
		"?from=5&limit=2":                      {5, 2, 7},
		"?from=7":                              {7, 1, 8},
		"?from=8":                              {8, 0, 8},
		"?from=new":                            {8, 0, 8},
		"?from=" + at.Format(time.RFC3339Nano): {7, 1, 8},
	} {
		texts, next := page(query)
		assert.Equal(t, numbers(want.from, want.n), texts, query)
		assert.EqualValues(t, want.next, next, query)
	}
	r := a.do(http.MethodGet, path("T", "messages")+"?from=6", "", "Accept", "application/x-ndjson").is(http.StatusOK)
	assert.Equal(t, "application/x-ndjson", r.header.Get("Content-Type"))
	lines := slices.Collect(splitLines(r.body))
	require.Len(t, lines, 2)
	for _, line := range lines {
		describedAs(t, path("T", "messages", 1), http.StatusOK, line)
	}
	a.get(path("T", "messages", 2)).refuses(http.StatusNotFound, "message_not_found")
	a.get(path("T", "messages", 8)).refuses(http.StatusNotFound, "message_not_found")
	a.get(path("none", "messages", 1)).refuses(http.StatusNotFound, "topic_not_found")
	a.get(path("none", "messages")).refuses(http.StatusNotFound, "topic_not_found")
}

func TestASeekMovesAConsumerAnywhere(t *testing.T) {
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

func TestAPausedConsumerGetsNothingUntilItGoesOn(t *testing.T) {
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

// collect has workers take messages at the same time until there are total, or
// none comes for long. It returns how often each text came.
func collect(t *testing.T, total int, brokers []api, work func(a api, worker int) []string) map[string]int {
	t.Helper()
	var mu sync.Mutex
	seen := make(map[string]int)
	deadline := time.Now().Add(60 * time.Second)
	var done sync.WaitGroup
	for worker := range 8 {
		done.Go(func() {
			for time.Now().Before(deadline) {
				texts := work(brokers[worker%len(brokers)], worker)
				mu.Lock()
				for _, text := range texts {
					seen[text]++
				}
				complete := len(seen) >= total
				mu.Unlock()
				if complete {
					return
				}
			}
		})
	}
	done.Wait()
	return seen
}

func TestWorkersThatShareAnAutoConsumerGetEachMessageOnce(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	c := first.consumer("T", `{"name":"c"}`)
	const total = 1000
	var producing sync.WaitGroup
	producing.Go(func() {
		for i := range 10 {
			first.fill("T", i*total/10, total/10)
		}
	})
	seen := collect(t, total, []api{first, second}, func(a api, worker int) []string {
		if worker < 2 { // an old client shares too
			if answer := a.classic().consume("T", c.ID); answer.Code != "empty" {
				return []string{fmt.Sprint(answer.Message)}
			}
			return nil
		}
		return textsOf(a.fetch("T", "c", fmt.Sprintf("limit=%d&wait=100ms", 1+worker)))
	})
	producing.Wait()
	assert.Len(t, seen, total)
	for text, times := range seen {
		assert.Equal(t, 1, times, "message %s", text)
	}
	assert.Zero(t, second.describe("T", "c").Size)
}

func TestABrowserSeesTheHeadersOfARawMessage(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 0, 1)
	r := a.do(http.MethodGet, path("T", "messages", 1)+"?raw=true", "", "Origin", "https://a.example").is(http.StatusOK)
	assert.Equal(t, "*", r.header.Get("Access-Control-Expose-Headers"))
}

func TestTheClassicCallsAndV1ServeTheSameConsumers(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	old := a.classic()
	producer, consumer := old.registerProducer("T"), old.registerConsumer("T")
	a.fill("T", 0, 3)
	old.produce("T", producer, "3")
	assert.EqualValues(t, 4, old.size("T", consumer))
	assert.EqualValues(t, 4, a.describe("T", consumer).Size)
	assert.Equal(t, "0", old.consume("T", consumer).Message)
	assert.Equal(t, numbers(1, 2), textsOf(a.fetch("T", consumer, "limit=2")))
	assert.Equal(t, "3", old.consume("T", consumer).Message)
	assert.Empty(t, a.drain("T", consumer))

	made := a.consumer("T", `{"start":"first","key":"k"}`)
	a.produce("T", `[{"data":"x"},{"data":"4","key":"k"},{"data_base64":"/w==","key":"k"}]`)
	assert.EqualValues(t, 2, old.size("T", made.ID))
	assert.Equal(t, "4", old.consume("T", made.ID).Message)
	assert.Equal(t, "�", old.consume("T", made.ID).Message, "what is no text is told as well as it can be")
	assert.Equal(t, "empty", old.consume("T", made.ID).Code)

	leasing := a.consumer("T", `{"mode":"lease","start":"first"}`)
	answer := old.consume("T", leasing.ID)
	assert.Equal(t, http.StatusBadRequest, answer.HTTP)
	assert.Equal(t, "wrong_mode", answer.Code)
	assert.EqualValues(t, 7, old.size("T", leasing.ID))
	a.post(path("T", "consumers", consumer, "ack"), `{"tokens":["0-0-1-1"]}`).refuses(http.StatusConflict, "wrong_mode")
}

func TestADeletedConsumerIsGoneForAllWhoUseIt(t *testing.T) {
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

func TestALongPollEndsWithTheFirstMessageWhoeverProducesIt(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	auto, lease := first.consumer("T", ""), first.consumer("T", `{"mode":"lease"}`)
	for round, produce := range []func(){
		func() { first.fill("T", 0, 1) },
		func() { second.fill("T", 1, 1) },
		func() { second.classic().produce("T", second.classic().registerProducer("T"), "2") },
		func() { second.produce("T", `{"data":"3","delay":"100ms"}`) },
	} {
		answers := make(chan []string, 3)
		begin := time.Now()
		go func() { answers <- textsOf(first.fetch("T", auto.ID, within)) }()
		go func() { answers <- textsOf(first.fetch("T", lease.ID, within)) }()
		go func() {
			answers <- textsOf(first.get(path("T", "messages") + "?from=new&" + within).is(http.StatusOK).messages())
		}()
		require.Empty(t, first.fetch("T", first.consumer("T", "").ID, "wait=100ms"))
		produce()
		for range 3 {
			assert.Equal(t, numbers(round, 1), <-answers)
		}
		assert.Less(t, time.Since(begin), 25*time.Second, "it did not wait to the end")
	}
	begin := time.Now()
	assert.Empty(t, first.fetch("T", auto.ID, "wait=200ms"))
	assert.False(t, time.Since(begin) < 200*time.Millisecond)
}

func TestAClientThatHangsUpTakesNoMessage(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	c := a.consumer("T", "")
	for round := range 5 {
		ctx, hangUp := context.WithCancel(context.Background())
		var polls sync.WaitGroup
		for range 20 {
			polls.Go(func() {
				answer, err := a.client.Do(a.request(ctx, http.MethodPost, path("T", "consumers", c.ID, "fetch")+"?"+within, ""))
				if err == nil {
					answer.Body.Close()
					t.Error("it was answered")
				}
			})
		}
		require.Empty(t, a.fetch("T", c.ID, "wait=200ms"))
		hangUp()
		polls.Wait()
		require.Empty(t, a.fetch("T", c.ID, "wait=100ms")) // the broker has heard of it
		a.fill("T", round, 1)
		require.Equal(t, numbers(round, 1), textsOf(a.fetch("T", c.ID, within)))
	}
}

func TestAStoppingBrokerEndsLongPollsAtOnce(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Config(""))
	a := newAPI(t, b.URL())
	a.topic("T", "")
	c := a.consumer("T", "")
	const polls = 64
	answers := make(chan []message, polls)
	for range polls {
		go func() { answers <- a.fetch("T", c.ID, "wait=60s") }()
	}
	require.Empty(t, a.fetch("T", c.ID, "wait=300ms"))
	begin := time.Now()
	require.NoError(t, b.Stop(context.Background()))
	for range polls {
		assert.Empty(t, <-answers)
	}
	assert.Less(t, time.Since(begin), 30*time.Second)
}

func TestARequestThatComesDuringALongPollIsAnsweredAfterIt(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	c := a.consumer("T", "")
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	say := func(line string) {
		_, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\n\r\n", line) // not even a Content-Length
		require.NoError(t, err)
		require.Empty(t, a.fetch("T", a.consumer("T", "").ID, "wait=100ms")) // the broker has heard of it
	}
	fetch := "POST " + path("T", "consumers", c.ID, "fetch") + "?" + within
	say(fetch)
	say("GET /livez")
	say(fetch)
	a.fill("T", 0, 2)
	answers := bufio.NewReader(conn)
	for _, want := range []string{`"data":"0"`, `"success"`, `"data":"1"`} {
		answer, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		assert.Contains(t, readAll(t, answer).is(http.StatusOK).body, want)
		answer.Body.Close()
	}
}
