package test

import (
	"bufio"
	"fmt"
	"io"
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

func TestLimits_BodyAboveTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	var large []object
	for range 15 {
		large = append(large, object{"data": strings.Repeat("x", 1<<20)})
	}

	above := a.do(http.MethodPost, path("T", "messages"), strings.Repeat("x", 17<<20), "Content-Type", "a/b")
	below := a.produce("T", append(large, object{"data": "small"}))

	above.refuses(http.StatusRequestEntityTooLarge, "body_too_large")
	assert.Len(t, below, 16)
}

func TestLimits_BatchAboveTenThousandMessagesIsRefused(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	tooMany := batch(0, 10_001, nil)

	array := a.post(path("T", "messages"), tooMany)
	lines := a.do(http.MethodPost, path("T", "messages"), linesOf(t, tooMany, "\n"),
		"Content-Type", "application/x-ndjson")
	atomic := a.post(path("T", "messages")+"?atomic=true", batch(0, 1001, nil))

	p := array.refuses(http.StatusRequestEntityTooLarge, "batch_too_large")
	assert.Contains(t, p.Detail, "at most 10000 messages")
	p = lines.refuses(http.StatusRequestEntityTooLarge, "batch_too_large")
	assert.Contains(t, p.Detail, "at most 10000 messages")
	atomic.refuses(http.StatusUnprocessableEntity, "invalid_batch")
	assert.Zero(t, a.topic("T").LastSequence)
}

// A body of empty messages takes a hundred times its own size once it is decoded.
func TestLimits_ValuesAboveTheLimitAreNotDecoded(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	c := a.register("T", object{"mode": "lease"})
	wrongAfter := func(value string) string { return "[" + strings.Repeat(value+",", 10_000) + value + ",wrong" }

	array := a.do(http.MethodPost, path("T", "messages"), wrongAfter("{}"), "Content-Type", "application/json")
	lines := a.do(http.MethodPost, path("T", "messages"), strings.Repeat("{}\n", 10_001)+"wrong",
		"Content-Type", "application/x-ndjson")
	var headers strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&headers, `"h%d":"",`, i)
	}
	headed := a.do(http.MethodPost, path("T", "messages"), `[{"data":"x"},{"headers":{`+headers.String()+"wrong",
		"Content-Type", "application/json")
	hundred, _, _ := strings.Cut(headers.String(), `,"h100"`)
	many := `{"data":"x","headers":{` + hundred + `}}`
	manyHeaders := a.do(http.MethodPost, path("T", "messages"), "["+strings.Repeat(many+",", 3_200)+"wrong",
		"Content-Type", "application/json")
	manyInLines := a.do(http.MethodPost, path("T", "messages"), strings.Repeat(many+"\n", 3_200)+"wrong",
		"Content-Type", "application/x-ndjson")
	tokens := a.do(http.MethodPost, c.path+"/ack", `{"tokens":`+wrongAfter(`""`), "Content-Type", "application/json")

	array.refuses(http.StatusRequestEntityTooLarge, "batch_too_large")
	lines.refuses(http.StatusRequestEntityTooLarge, "batch_too_large")
	manyHeaders.refuses(http.StatusRequestEntityTooLarge, "batch_too_large")
	manyInLines.refuses(http.StatusRequestEntityTooLarge, "batch_too_large")
	p := headed.refuses(http.StatusBadRequest, "invalid_field")
	assert.Contains(t, p.Detail, `message 2: invalid field "headers": they take more than 16384 bytes`)
	p = tokens.refuses(http.StatusBadRequest, "invalid_field")
	assert.Contains(t, p.Detail, `"tokens": want at most 10000`)
}

// Together the clients may send more than the broker takes at once; they send nothing.
func TestLimits_SilentClientsLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	for range 100 {
		conn := dial(t, a.url)
		_, err := io.WriteString(conn, "POST /v1/topics/T/messages HTTP/1.1\r\nHost: localhost\r\n"+
			"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
		require.NoError(t, err)
		answer, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, answer, "100 Continue")
	}

	small := a.do(http.MethodPost, path("T", "messages"), "x", "Content-Type", "text/plain")
	large := a.do(http.MethodPost, path("T", "messages"), strings.Repeat("x", 1<<20), "Content-Type", "text/plain")

	small.is(http.StatusCreated)
	large.is(http.StatusCreated)
}

func TestLimits_BatchOfTenThousandMessagesIsStored(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")

	stored := a.produce("T", batch(0, 10_000, nil))

	assert.Len(t, stored, 10_000)
	same(t, numbers(0, 10_000), a.register("T", object{"start": "first"}).drain())
	same(t, numbers(0, 10_000), textsOf(a.browse("T")))

	delayed := a.post(path("T", "messages"), batch(0, 1000, object{"delay": "1h"}))
	atomic := a.post(path("T", "messages")+"?atomic=true", batch(0, 1000, nil))

	assert.Len(t, delayed.is(http.StatusAccepted).receipts(), 1000)
	atomic.is(http.StatusCreated)
}

func TestLimits_MessageAboveTheTopicsLimitIsRefused(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T", object{"max_message_bytes": 1000})
	large := strings.Repeat("x", 1001)

	now := a.post(path("T", "messages"), object{"data": large})
	later := a.post(path("T", "messages"), object{"data": large, "delay": "1h"})

	now.refuses(http.StatusRequestEntityTooLarge, "message_too_large")
	later.refuses(http.StatusRequestEntityTooLarge, "message_too_large")
}

func TestLimits_MessageThatFillsItsTopicIsRefused(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	few := a.createTopic("few", object{"max_bytes": 1100})
	assert.EqualValues(t, 0, few.Settings["max_message_bytes"])

	tooLarge := a.post(path("few", "messages"), object{"data": strings.Repeat("x", 1050)})
	fits := a.post(path("few", "messages"), object{"data": strings.Repeat("x", 500), "key": strings.Repeat("k", 240)})

	p := tooLarge.refuses(http.StatusRequestEntityTooLarge, "message_too_large")
	assert.Contains(t, p.Detail, "582", "rather than to store it and have it go at once")
	fits.is(http.StatusCreated)
	assert.Len(t, a.browse("few"), 1)
	a.put(path("few"), object{"max_bytes": 1100}).is(http.StatusOK)
}

func TestLimits_MessageAboveTheBrokersLimitIsRefused(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	large := object{"data": strings.Repeat("x", 1<<20+1)}

	second := a.post(path("T", "messages"), []object{{"data": "1"}, large})
	single := a.post(path("T", "messages"), large)
	largest := a.do(http.MethodPost, path("T", "messages"), strings.Repeat("x", 1<<20), "Content-Type", "text/plain")

	p := second.refuses(http.StatusRequestEntityTooLarge, "message_too_large")
	assert.Contains(t, p.Detail, "message 2")
	single.refuses(http.StatusRequestEntityTooLarge, "message_too_large")
	largest.is(http.StatusCreated)
}

// A client that sends a byte now and then must not keep a connection for ever.
func TestLimits_SlowClientIsCutOff(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))

	var clients sync.WaitGroup // in one test, because they mostly wait
	for name, begin := range map[string]string{
		"headers": "POST /topics HTTP/1.1\r\nX: ",
		"body":    "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{",
		"chunks":  "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n{",
	} {
		conn := dial(t, c.url)
		clients.Go(func() { assert.True(t, cutOff(conn, begin), name) })
	}
	clients.Wait()

	c.registerProducer("T")
}

// cutOff sends begin and then ten bytes a second. It reports whether the broker closes the connection within 3,000
// bytes.
func cutOff(conn net.Conn, begin string) bool {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, conn) // the answer, if there is one
	}()

	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	_, _ = io.WriteString(conn, begin)
	for range 3000 {
		select {
		case <-closed:
			return true
		case <-ticks.C:
			_, _ = io.WriteString(conn, "x")
		}
	}
	return false
}
