package test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

func TestBrowse_ReadsPagesWithoutAConsumer(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 1, 6)
	a.purge("T", "up_to=2")
	seventh := a.produce("T", object{"data": "7"})[0].Time
	type page struct {
		Messages []message
		Next     uint64
	}

	for query, want := range map[string]struct{ from, n, next int }{
		"":                    {from: 3, n: 5, next: 8},
		"?from=first&limit=2": {from: 3, n: 2, next: 5},
		"?from=5&limit=2":     {from: 5, n: 2, next: 7},
		"?from=7":             {from: 7, n: 1, next: 8},
		"?from=8":             {from: 8, n: 0, next: 8},
		"?from=new":           {from: 8, n: 0, next: 8},
		"?from=" + seventh.Format(time.RFC3339Nano): {from: 7, n: 1, next: 8},
	} {
		var got page
		a.get(path("T", "messages") + query).is(http.StatusOK).into(&got)

		assert.Equal(t, numbers(want.from, want.n), textsOf(got.Messages), query)
		assert.EqualValues(t, want.next, got.Next, query)
	}
}

func TestBrowse_AnswersLinesOnRequest(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 1, 7)

	r := a.do(http.MethodGet, path("T", "messages")+"?from=6", "", "Accept", "application/x-ndjson").is(http.StatusOK)

	assert.Equal(t, "application/x-ndjson", r.header.Get("Content-Type"))
	lines := strings.Split(strings.TrimSuffix(r.body, "\n"), "\n")
	require.Len(t, lines, 2)
	for _, line := range lines {
		describedMessage(t, line)
	}
}

func TestBrowse_MissingMessagesAndTopicsAreNotFound(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 1, 7)
	a.purge("T", "up_to=2")

	removed := a.get(path("T", "messages", 2))
	future := a.get(path("T", "messages", 8))
	messageOfNone := a.get(path("none", "messages", 1))
	none := a.get(path("none", "messages"))

	removed.refuses(http.StatusNotFound, "message_not_found")
	future.refuses(http.StatusNotFound, "message_not_found")
	messageOfNone.refuses(http.StatusNotFound, "topic_not_found")
	none.refuses(http.StatusNotFound, "topic_not_found")
}

func TestBrowse_KeepsToItsLimits(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 100, 50) // of 3 bytes

	browsed := a.browse("T", "limit=50", "max_bytes=7")

	assert.NotEmpty(t, browsed)
	assert.LessOrEqual(t, len(browsed), 3)
}

func TestBrowse_ManyLargeAnswersAtOnceSucceedAndDisturbNobody(t *testing.T) {
	t.Parallel()
	const readers, each = 40, 4 << 20
	cfg := brokertest.Config("")
	cfg.RequestTimeout = 30 * time.Second // with the race detector, on a busy machine, the last ones wait for long
	a := startAPI(t, cfg)
	a.createTopic("T")
	a.createTopic("bystander")
	large := object{"data": strings.Repeat("x", each/8)}
	for range 8 {
		a.produce("T", large)
	}
	c := a.register("bystander")

	var reading sync.WaitGroup
	sizes := make([]int, readers)
	for i := range readers {
		reading.Go(func() {
			answer, err := http.Get(a.url + path("T", "messages"))
			if err == nil && answer.StatusCode == http.StatusOK {
				n, _ := io.Copy(io.Discard, answer.Body)
				sizes[i] = int(n)
				_ = answer.Body.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() { reading.Wait(); close(done) }()
	for n := 0; ; n++ {
		a.produce("bystander", object{"data": fmt.Sprint(n)})
		require.Equal(t, []string{fmt.Sprint(n)}, textsOf(c.fetch()))
		select {
		case <-done:
			for _, size := range sizes {
				assert.Greater(t, size, each)
			}
			return
		default:
		}
	}
}

func TestBrowse_LargeAnswerIsWholeInBothForms(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	messages := batch(0, 3000, nil)
	for i := range messages {
		messages[i]["data"] = strings.Repeat(fmt.Sprintf("%04d", i), 100)
	}
	a.produce("T", messages)

	var page struct {
		Messages []message
		Next     uint64
	}
	whole := a.get(path("T", "messages") + "?limit=10000").is(http.StatusOK)
	whole.into(&page)
	lines := a.do(http.MethodGet, path("T", "messages")+"?limit=10000", "", "Accept", "application/x-ndjson")
	head, err := http.Head(a.url + path("T", "messages") + "?limit=10000")

	require.Len(t, page.Messages, 3000)
	assert.EqualValues(t, 3001, page.Next)
	for i, m := range page.Messages {
		require.Equal(t, messages[i]["data"], m.text())
	}
	assert.Equal(t, 3000, strings.Count(lines.is(http.StatusOK).body, "\n"))
	require.NoError(t, err)
	require.NoError(t, head.Body.Close())
	assert.EqualValues(t, len(whole.body), head.ContentLength)
}

func TestBrowse_BadCallsAreRefused(t *testing.T) {
	t.Parallel()
	refuseAll(t, func(_ fixture) []refusal {
		return []refusal{
			{
				name: "from a word", call: "GET " + messagesT + "?from=last",
				status: 400, code: "invalid_field", detail: "from",
			},
			{
				name: "a negative sequence", call: "GET " + messagesT + "?from=-1",
				status: 400, code: "invalid_field", detail: "from",
			},
			{
				name: "a long wait", call: "GET " + messagesT + "?wait=61s",
				status: 400, code: "invalid_field", detail: "1m0s",
			},
			{
				name: "a wait in seconds", call: "GET " + messagesT + "?wait=10",
				status: 400, code: "invalid_field", detail: "10s",
			},
			{
				name: "no bytes", call: "GET " + messagesT + "?max_bytes=0",
				status: 400, code: "invalid_field", detail: "max_bytes",
			},
			{
				name: "message zero", call: "GET " + messagesT + "/0",
				status: 400, code: "invalid_field", detail: "sequence",
			},
			{
				name: "message x", call: "GET " + messagesT + "/x",
				status: 400, code: "invalid_field", detail: "sequence",
			},
			{name: "no message", call: "GET " + messagesT + "/4", status: 404, code: "message_not_found", detail: "4"},
		}
	})
}
