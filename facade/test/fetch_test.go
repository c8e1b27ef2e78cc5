package test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

func TestFetch_KeepsToItsLimits(t *testing.T) {
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

func TestFetch_WorkersOfOneAutoConsumerGetEachMessageOnce(t *testing.T) {
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

func TestFetch_LongPollEndsWithTheFirstMessage(t *testing.T) {
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

func TestFetch_ClientThatHangsUpTakesNoMessage(t *testing.T) {
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

func TestFetch_StoppingBrokerEndsLongPolls(t *testing.T) {
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

func TestFetch_PipelinedRequestIsAnsweredAfterTheLongPoll(t *testing.T) {
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
