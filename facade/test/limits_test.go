package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"dq/cmd/dq/broker/brokertest"
)

func TestLimits_BodyAboveTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.do(http.MethodPost, path("T", "messages"), strings.Repeat("x", 17<<20), "Content-Type", "a/b").refuses(http.StatusRequestEntityTooLarge, "body_too_large")
	batch := fmt.Sprintf(`[%s{"data":"small"}]`, strings.Repeat(fmt.Sprintf(`{"data":"%s"},`, strings.Repeat("x", 1<<20)), 15))
	assert.Len(t, a.produce("T", batch), 16)
}

// A client that sends a byte now and then must not keep a connection for ever.
func TestLimits_SlowClientIsCutOff(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	var clients sync.WaitGroup // one test, as they wait rather than work
	for name, begin := range map[string]string{
		"headers": "POST /topics HTTP/1.1\r\nX: ",
		"body":    "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{",
		"chunks":  "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n{",
	} {
		conn := dial(t, s.url)
		clients.Go(func() { assert.True(t, cutOff(conn, begin), name) })
	}
	clients.Wait()
	s.registerProducer("T")
}

// cutOff says begin and then a byte now and then, and reports whether the broker
// closes the connection before there are thousands.
func cutOff(conn net.Conn, begin string) bool {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, conn) // the answer, if there is one
	}()
	bytes := time.NewTicker(100 * time.Millisecond)
	defer bytes.Stop()
	_, _ = io.WriteString(conn, begin)
	for range 3000 {
		select {
		case <-closed:
			return true
		case <-bytes.C:
			_, _ = io.WriteString(conn, "x")
		}
	}
	return false
}

func TestLimits_BatchHasAtMostTenThousandMessages(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	tooMany := batchOf(0, 10_001, "")
	p := a.post(path("T", "messages"), tooMany).refuses(http.StatusRequestEntityTooLarge, "batch_too_large")
	assert.Contains(t, p.Detail, "10001")
	lines := strings.ReplaceAll(strings.Trim(tooMany, "[]"), "},{", "}\n{")
	p = a.do(http.MethodPost, path("T", "messages"), lines, "Content-Type", "application/x-ndjson").refuses(http.StatusRequestEntityTooLarge, "batch_too_large")
	assert.Contains(t, p.Detail, "10001")
	a.post(path("T", "messages")+"?atomic=true", batchOf(0, 1001, "")).refuses(http.StatusUnprocessableEntity, "invalid_batch")
	var now topic
	a.get(path("T")).into(&now)
	assert.Zero(t, now.LastSequence)

	assert.Len(t, a.produce("T", batchOf(0, 10_000, "")), 10_000)
	a.consumer("T", `{"name":"c","start":"first"}`)
	same(t, numbers(0, 10_000), a.drain("T", "c"))
	same(t, numbers(0, 10_000), textsOf(a.browse("T")))
	assert.Len(t, a.post(path("T", "messages"), batchOf(0, 1000, `,"delay":"1h"`)).is(http.StatusAccepted).receipts(), 1000)
	a.post(path("T", "messages")+"?atomic=true", batchOf(0, 1000, "")).is(http.StatusCreated)
}

func TestLimits_MessageAboveTheTopicsLimitIsRefused(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", `{"max_message_bytes":1000}`)
	large := fmt.Sprintf(`{"data":"%s"}`, strings.Repeat("x", 1001))
	a.post(path("T", "messages"), large).refuses(http.StatusRequestEntityTooLarge, "message_too_large")
	delayed := strings.Replace(large, "{", `{"delay":"1h",`, 1)
	a.post(path("T", "messages"), delayed).refuses(http.StatusRequestEntityTooLarge, "message_too_large")
	few := a.topic("few", `{"max_bytes":1100}`)
	assert.EqualValues(t, 0, few.Settings["max_message_bytes"])
	p := a.post(path("few", "messages"), fmt.Sprintf(`{"data":"%s"}`, strings.Repeat("x", 1050))).refuses(http.StatusRequestEntityTooLarge, "message_too_large")
	assert.Contains(t, p.Detail, "582", "rather than to store it and have it go at once")
	a.post(path("few", "messages"), fmt.Sprintf(`{"data":"%s","key":"%s"}`, strings.Repeat("x", 500), strings.Repeat("k", 240))).is(http.StatusCreated)
	assert.Len(t, a.browse("few"), 1)
	a.put(path("few"), `{"max_bytes":1100}`).is(http.StatusOK)
	a.topic("U", "")
	batch := fmt.Sprintf(`[{"data":"1"},{"data":"%s"}]`, strings.Repeat("x", 1<<20+1))
	assert.Contains(t, a.post(path("U", "messages"), batch).refuses(http.StatusRequestEntityTooLarge, "message_too_large").Detail, "message 2")
	broker := fmt.Sprintf(`{"data":"%s"}`, strings.Repeat("x", 1<<20+1))
	a.post(path("U", "messages"), broker).refuses(http.StatusRequestEntityTooLarge, "message_too_large")
	a.do(http.MethodPost, path("U", "messages"), strings.Repeat("x", 1<<20), "Content-Type", "text/plain").is(http.StatusCreated)
}
