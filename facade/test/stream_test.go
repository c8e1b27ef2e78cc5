package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

// events is a stream of Server-Sent Events.
type events struct {
	t     testing.TB
	lines *bufio.Scanner
	close func()
}

// event is what a stream has up to an empty line.
type event struct {
	id, name, data string
	comment        bool
}

// stream opens a stream. Headers are names and values in turn.
func (a api) stream(path string, headers ...string) *events {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	headers = append(headers, "Accept", "text/event-stream")
	answer, err := a.client.Do(a.request(ctx, http.MethodGet, path, "", headers...))
	require.NoError(a.t, err)
	end := func() { cancel(); answer.Body.Close() }
	a.t.Cleanup(end)

	require.Equal(a.t, http.StatusOK, answer.StatusCode)
	require.Equal(a.t, "text/event-stream", answer.Header.Get("Content-Type"))
	require.Equal(a.t, "no-store", answer.Header.Get("Cache-Control"))

	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 8<<20)
	e := &events{t: a.t, lines: lines, close: end}
	first, ok := e.read()
	require.True(a.t, ok)
	require.Empty(a.t, first.data, "it says only how long to wait before another attempt")
	return e
}

// stream opens the stream of the consumer. Headers are names and values in turn.
func (c consumer) stream(headers ...string) *events {
	c.api.t.Helper()
	return c.api.stream(c.path+"/stream", headers...)
}

// read reads up to the next empty line. It returns false at the end of the stream.
func (e *events) read() (out event, ok bool) {
	for e.lines.Scan() {
		field, value, _ := strings.Cut(e.lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")

		switch {
		case e.lines.Text() == "":
			return out, true
		case field == "":
			out.comment = true
		case field == "id":
			out.id = value
		case field == "event":
			out.name = value
		case field == "data":
			out.data += value
		}
	}
	return out, false
}

// message reads up to the next message. It returns false at the end of the stream.
func (e *events) message() (out event, ok bool) {
	for {
		out, ok = e.read()
		if !ok || !out.comment {
			return out, ok
		}
	}
}

// next reads n messages and checks them against the description.
func (e *events) next(n int) (messages []message) {
	e.t.Helper()
	for len(messages) < n {
		got, ok := e.message()
		require.True(e.t, ok, "the stream ended")
		require.Empty(e.t, got.name, got.data)

		describedMessage(e.t, got.data)
		var m message
		require.NoError(e.t, json.Unmarshal([]byte(got.data), &m))
		require.Equal(e.t, fmt.Sprint(m.Sequence), got.id)
		messages = append(messages, m)
	}
	return messages
}

// fails reads up to the end of the stream, whose last event has to be an error of that code.
func (e *events) fails(code string) {
	e.t.Helper()
	var last event
	for got, ok := e.read(); ok; got, ok = e.read() {
		last = got
	}

	require.Equal(e.t, "error", last.name)
	describedProblem(e.t, last.data)
	assert.Contains(e.t, last.data, code)
}

func TestStream_OfATopicHasOldAndNewMessages(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	first.fill("T", 1, 150)
	messages := path("T", "messages")

	all := first.stream(messages + "?from=first")
	same(t, numbers(1, 150), textsOf(all.next(150)))
	late := second.stream(messages + "?from=149")
	resumed := second.stream(messages+"?from=first", "Last-Event-ID", "148")
	for _, stream := range []*events{late, resumed} {
		assert.Equal(t, numbers(149, 2), textsOf(stream.next(2)))
	}
	fresh := first.stream(messages)
	keyed := second.stream(messages + "?from=first&key=k.1")

	for i := range 5 {
		number, key := fmt.Sprint(i), fmt.Sprintf("key\n%d", i)
		second.produce("T", []object{{"data": number}, {"data": key, "key": "k.1"}})

		for _, stream := range []*events{all, late, resumed, fresh} {
			assert.Equal(t, []string{number, key}, textsOf(stream.next(2)))
		}
		assert.Equal(t, []string{key}, textsOf(keyed.next(1)))
	}
	first.del(path("T")).is(http.StatusNoContent)
	all.fails("topic_not_found")
}

func TestStream_AfterTheLastOfAllSequencesIsSilent(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	stream := second.stream(path("T", "messages"), "Last-Event-ID", "18446744073709551615")

	first.fill("T", 1, 10)

	got, _ := stream.read()
	assert.True(t, got.comment)
}

func TestStream_SilentHasHeartbeats(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	for _, stream := range []*events{a.stream(path("T", "messages")), a.register("T").stream()} {
		for range 2 {
			got, ok := stream.read()

			require.True(t, ok)
			assert.True(t, got.comment)
		}
	}
}

func TestStream_OfAnAutoConsumerLosesNothingWhenResumed(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	c := first.register("T")
	first.fill("T", 1, 300)

	var got, headers []string
	for i := range 10 { // each is closed in the middle
		stream := c.via([]api{first, second}[i%2]).stream(headers...)
		messages := stream.next(30)
		stream.close()
		got = append(got, textsOf(messages)...)
		headers = []string{"Last-Event-ID", fmt.Sprint(messages[29].Sequence)}
	}

	same(t, numbers(1, 300), got)
}

func TestStream_OfALeaseConsumerHasTokens(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	c := a.register("T", object{"mode": "lease", "lease": "500ms"})
	a.fill("T", 0, 3)
	stream := c.stream()

	got := stream.next(3)

	assert.Equal(t, numbers(0, 3), textsOf(got))
	c.ack(tokensOf(got[:2])).is(http.StatusNoContent)
	again := stream.next(1)
	assert.Equal(t, "2", again[0].text())
	assert.Equal(t, 2, again[0].Deliveries)
	c.ack(tokensOf(again)).is(http.StatusNoContent)

	stream.close()
	a.fill("T", 3, 1)

	assert.Equal(t, []string{"3"}, textsOf(c.fetch(within)), "a stream that was closed takes nothing")
}

func TestStream_EndsWithItsConsumer(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	c := a.register("T", object{"mode": "lease", "lease": "500ms"})
	stream := c.stream()

	c.del().is(http.StatusNoContent)
	a.fill("T", 4, 1)

	stream.fails("consumer_not_found")
}

func TestStream_EndsWhenTheBrokerStops(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Config(""))
	a := newAPI(t, b.URL())
	a.createTopic("T")
	c := a.register("T")
	streams := []*events{a.stream(path("T", "messages")), c.stream()}
	stall(t, a, "T")
	socket := c.socket()

	begin := time.Now()
	require.NoError(t, b.Stop(context.Background()), "not even a reader that has stopped is waited for")

	assert.Less(t, time.Since(begin), 9*time.Second)
	for _, stream := range streams {
		for ok := true; ok; {
			_, ok = stream.read()
		}
	}
	assert.Equal(t, 1001, socket.closed())
}

// stall fills a topic, registers a consumer of it and opens a stream of that consumer which is not read.
func stall(t *testing.T, a api, topic string) consumer {
	t.Helper()
	c := a.register(topic, object{"start": "first"})
	large := batch(0, 50, object{"data": strings.Repeat("x", 100_000), "key": "large"})
	for a.topic(topic).Bytes < 12_000_000 {
		a.produce(topic, large)
	}

	conn := dial(t, a.url)
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", c.path+"/stream")
	_, err := conn.Read(make([]byte, 100))
	require.NoError(t, err)
	return c
}

func TestStream_StalledReadersCostNoMemoryAndSlowNobody(t *testing.T) {
	t.Parallel()
	a, process := startProcess(t, t.TempDir())
	a.createTopic("T")
	const readers, messages, ahead = 190, 100, 20
	var streams []*events
	for range readers {
		streams = append(streams, a.stream(path("T", "messages")+"?key=small"))
	}
	produceAndRead(t, a, streams, ahead, 0)
	stalled := []consumer{stall(t, a, "T")}
	before := memory(process)

	for range 9 {
		stalled = append(stalled, stall(t, a, "T"))
	}
	produceAndRead(t, a, streams, messages, ahead)

	for _, c := range stalled {
		assert.Greater(t, c.describe().Lag, uint64(ahead+messages), "nothing is taken that the reader does not take")
	}
	after := memory(process)
	t.Logf("%d MiB, then %d MiB", before>>20, after>>20)
	assert.LessOrEqual(t, after, before+150<<20)
}

// produceAndRead produces n messages of the key "small" with texts from from, while each of the streams reads them.
func produceAndRead(t *testing.T, a api, streams []*events, n, from int) {
	t.Helper()
	var reading sync.WaitGroup
	for _, stream := range streams {
		reading.Go(func() {
			var got []string
			for len(got) < n {
				e, ok := stream.message()
				if !ok {
					break
				}
				_, text, _ := strings.Cut(e.data, `"data":"`) // decoding it all would take long
				got = append(got, strings.TrimRight(text, `"}`))
			}
			same(t, numbers(from, n), got)
		})
	}

	for i := range n / 10 {
		a.produce("T", batch(from+i*10, 10, object{"key": "small"}))
	}
	reading.Wait()
}

// memory returns how many bytes of memory a process has, or 0 if the system does not tell.
func memory(process *os.Process) (bytes int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.Pid))
	if err != nil {
		return 0
	}

	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &bytes); err == nil {
			return bytes << 10
		}
	}
	return 0
}

func TestStream_OrderIsThatOfTheTopicWhileManyProduce(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	stream := second.stream(path("T", "messages"))

	var producing sync.WaitGroup
	for i := range 4 {
		producing.Go(func() {
			for range 50 {
				[]api{first, second}[i%2].produce("T", object{"data": "x"})
			}
		})
	}
	var sequences []uint64
	for _, m := range stream.next(200) {
		sequences = append(sequences, m.Sequence)
	}
	producing.Wait()

	assert.True(t, slices.IsSorted(sequences))
	assert.EqualValues(t, 200, sequences[199])
}

func TestStream_BadCallsAreRefused(t *testing.T) {
	t.Parallel()
	refuseAll(t, func(_ fixture) []refusal {
		return []refusal{
			{
				name: "a stream from a word", call: "GET " + messagesT,
				headers: []string{"Accept", "text/event-stream", "Last-Event-ID", "x"},
				status:  400, code: "invalid_field", detail: "Last-Event-ID",
			},
			{
				name: "a stream of nothing", call: "GET " + noTopic + "/messages",
				headers: []string{"Accept", "text/event-stream"},
				status:  404, code: "topic_not_found", detail: "none",
			},
			{
				name: "a stream from an event x", call: "GET " + autoT + "/stream",
				headers: []string{"Last-Event-ID", "x"},
				status:  400, code: "invalid_field", detail: "Last-Event-ID",
			},
		}
	})
}
