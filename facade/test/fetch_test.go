package test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

// collect runs eight workers on the brokers until they have taken total different texts, or for a minute. It returns
// how often each text was taken.
func collect(t *testing.T, total int, brokers []api, work func(a api, worker int) []string) map[string]int {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	seen := make(map[string]int)
	var mu sync.Mutex
	add := func(texts []string) (complete bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, text := range texts {
			seen[text]++
		}
		return len(seen) >= total
	}

	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			for time.Now().Before(deadline) {
				if add(work(brokers[worker%len(brokers)], worker)) {
					return
				}
			}
		})
	}
	workers.Wait()
	return seen
}

func TestFetch_LargeAnswerIsWhole(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	auto, lease := a.register("T"), a.register("T", object{"mode": "lease", "lease": "1m", "max_in_flight": 10_000})
	messages, want := batch(0, 3000, nil), make([]string, 3000)
	for i := range messages {
		want[i] = strings.Repeat(fmt.Sprintf("%04d", i), 100)
		messages[i]["data"] = want[i]
	}
	a.produce("T", messages)

	assert.Equal(t, want, auto.drain())
	assert.Equal(t, want, lease.drain())
}

func TestFetch_KeepsToItsLimits(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 100, 50) // of 3 bytes

	for _, mode := range []string{"auto", "lease"} {
		c := a.register("T", object{"start": "first", "mode": mode})

		assert.Len(t, c.fetch(), 1)
		assert.Len(t, c.fetch("limit=5"), 5)
		assert.Len(t, c.fetch("limit=50", "max_bytes=1"), 1)
		assert.Len(t, c.fetch("limit=50", "max_bytes=7"), 3, "the message that reaches the bytes is the last")
		assert.Len(t, c.fetch("limit=50", "max_bytes=1000"), 40)
		assert.EqualValues(t, 0, c.describe().Lag)
	}
}

func TestFetch_WorkersOfOneAutoConsumerGetEachMessageOnce(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	c := first.register("T", object{"name": "c"})
	const total = 1000

	var producing sync.WaitGroup
	producing.Go(func() {
		for i := range 10 {
			first.fill("T", i*total/10, total/10)
		}
	})
	seen := collect(t, total, []api{first, second}, func(a api, worker int) []string {
		if worker >= 2 {
			return textsOf(a.consumer("T", "c").fetch(fmt.Sprintf("limit=%d", 1+worker), "wait=100ms"))
		}
		// The others use the classic call.
		if answer := a.classic().consume("T", c.ID); answer.Code != "empty" {
			return []string{fmt.Sprint(answer.Message)}
		}
		return nil
	})
	producing.Wait()

	assert.Len(t, seen, total)
	for text, times := range seen {
		assert.Equal(t, 1, times, "message %s", text)
	}
	assert.Zero(t, second.consumer("T", "c").describe().Size)
}

func TestFetch_LongPollEndsWithTheFirstMessage(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	auto, lease := first.register("T"), first.register("T", object{"mode": "lease"})
	producer := second.classic().registerProducer("T")
	for round, produce := range []func(){
		func() { first.fill("T", 0, 1) },
		func() { second.fill("T", 1, 1) },
		func() { second.classic().produce("T", producer, "2") },
		func() { second.produce("T", object{"data": "3", "delay": "100ms"}) },
	} {
		polls := make(chan []string, 3)
		begin := time.Now()
		go func() { polls <- textsOf(auto.fetch(within)) }()
		go func() { polls <- textsOf(lease.fetch(within)) }()
		go func() { polls <- textsOf(first.browse("T", "from=new", within)) }()
		require.Empty(t, first.register("T").fetch("wait=100ms")) // by then the polls wait

		produce()

		for range 3 {
			assert.Equal(t, numbers(round, 1), <-polls)
		}
		assert.Less(t, time.Since(begin), 25*time.Second, "it did not wait to the end")
	}
}

func TestFetch_LongPollOfNothingTakesItsWait(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	c := a.register("T")
	begin := time.Now()

	got := c.fetch("wait=200ms")

	assert.Empty(t, got)
	assert.False(t, time.Since(begin) < 200*time.Millisecond)
}

func TestFetch_ClientThatHangsUpTakesNoMessage(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	c := a.register("T")
	for round := range 5 {
		ctx, hangUp := context.WithCancel(context.Background())
		var polls sync.WaitGroup
		for range 20 {
			polls.Go(func() {
				answer, err := a.client.Do(a.request(ctx, http.MethodPost, c.path+"/fetch?"+within, ""))
				if err == nil {
					answer.Body.Close()
					t.Error("it was answered")
				}
			})
		}
		require.Empty(t, c.fetch("wait=200ms")) // by then the polls wait

		hangUp()
		polls.Wait()
		require.Empty(t, c.fetch("wait=100ms")) // by then the broker has noticed
		a.fill("T", round, 1)

		require.Equal(t, numbers(round, 1), textsOf(c.fetch(within)))
	}
}

func TestFetch_StoppingBrokerEndsLongPolls(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Config(""))
	a := newAPI(t, b.URL())
	a.createTopic("T")
	c := a.register("T")
	const polls = 64
	answers := make(chan []message, polls)
	for range polls {
		go func() { answers <- c.fetch("wait=60s") }()
	}
	require.Empty(t, c.fetch("wait=300ms")) // by then the polls wait

	begin := time.Now()
	require.NoError(t, b.Stop(context.Background()))

	for range polls {
		assert.Empty(t, <-answers)
	}
	assert.Less(t, time.Since(begin), 30*time.Second)
}

func TestFetch_PipelinedRequestIsAnsweredAfterTheLongPoll(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	c := a.register("T")
	conn := dial(t, a.url)
	send := func(line string) {
		_, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\n\r\n", line) // not even a Content-Length
		require.NoError(t, err)
		require.Empty(t, a.register("T").fetch("wait=100ms")) // by then the broker has read it
	}

	send("POST " + c.path + "/fetch?" + within)
	send("GET /livez")
	send("POST " + c.path + "/fetch?" + within)
	a.fill("T", 0, 2)

	answers := bufio.NewReader(conn)
	for _, want := range []string{`"data":"0"`, `"success"`, `"data":"1"`} {
		answer, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		assert.Contains(t, readAll(t, answer).is(http.StatusOK).body, want)
		answer.Body.Close()
	}
}

func TestFetch_BadCallsAreRefused(t *testing.T) {
	t.Parallel()
	refuseAll(t, func(_ fixture) []refusal {
		return []refusal{
			{
				name: "fetch none", call: "POST " + autoT + "/fetch?limit=0",
				status: 400, code: "invalid_field", detail: "limit",
			},
			{
				name: "fetch too many", call: "POST " + autoT + "/fetch?limit=10001",
				status: 400, code: "invalid_field", detail: "10000",
			},
			{
				name: "fetch a word", call: "POST " + autoT + "/fetch?limit=all",
				status: 400, code: "invalid_field", detail: "limit",
			},
			{
				name: "fetch for long", call: "POST " + autoT + "/fetch?wait=2m",
				status: 400, code: "invalid_field", detail: "wait",
			},
			{
				name: "fetch for less than nothing", call: "POST " + autoT + "/fetch?wait=-1s",
				status: 400, code: "invalid_field", detail: "wait",
			},
			{
				name: "fetch many raw", call: "POST " + autoT + "/fetch?raw=true&limit=2",
				status: 400, code: "invalid_field", detail: "limit",
			},
			{
				name: "fetch from nobody", call: "POST " + topicT + "/consumers/nobody/fetch",
				status: 404, code: "consumer_not_found", detail: "nobody",
			},
		}
	})
}
