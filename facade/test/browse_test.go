package test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

func TestBrowse_ReadsPagesWithoutAConsumer(t *testing.T) {
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
