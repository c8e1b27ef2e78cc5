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

type event struct {
	id, name, data string
	comment        bool
}

// stream opens a stream.
func (a api) stream(path string, headers ...string) *events {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	answer, err := a.client.Do(a.request(ctx, http.MethodGet, path, "", append(headers, "Accept", "text/event-stream")...))
	require.NoError(a.t, err)
	end := func() { cancel(); answer.Body.Close() }
	a.t.Cleanup(end)
	require.Equal(a.t, http.StatusOK, answer.StatusCode)
	require.Equal(a.t, "text/event-stream", answer.Header.Get("Content-Type"))
	require.Equal(a.t, "no-store", answer.Header.Get("Cache-Control"))
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 8<<20)
	e := &events{a.t, lines, end}
	first, ok := e.read()
	require.True(a.t, ok)
	require.Empty(a.t, first.data) // it says only when to come back
	return e
}

// read reads up to the next empty line. It is false at the end of the stream.
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

// next reads n messages.
func (e *events) next(n int) (messages []message) {
	e.t.Helper()
	for len(messages) < n {
		got, ok := e.read()
		require.True(e.t, ok, "the stream ended")
		require.Empty(e.t, got.name, got.data)
		if got.comment {
			continue
		}
		describedAs(e.t, path("t", "messages", 1), http.StatusOK, got.data)
		var m message
		require.NoError(e.t, json.Unmarshal([]byte(got.data), &m))
		require.Equal(e.t, fmt.Sprint(m.Sequence), got.id)
		messages = append(messages, m)
	}
	return messages
}

// fails reads up to the end of the stream, which has to be an error.
func (e *events) fails(code string) {
	e.t.Helper()
	var last event
	for {
		got, ok := e.read()
		if !ok {
			break
		}
		last = got
	}
	require.Equal(e.t, "error", last.name)
	describedAs(e.t, path("t"), http.StatusNotFound, last.data)
	assert.Contains(e.t, last.data, code)
}

func TestStream_OfATopicHasOldAndNewMessages(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	first.fill("T", 1, 150)
	all := first.stream(path("T", "messages") + "?from=first")
	same(t, numbers(1, 150), textsOf(all.next(150)))
	fresh := first.stream(path("T", "messages"))
	late := second.stream(path("T", "messages") + "?from=149")
	keyed := second.stream(path("T", "messages") + "?from=first&key=k.1")
	resumed := second.stream(path("T", "messages")+"?from=first", "Last-Event-ID", "148")
	last := second.stream(path("T", "messages"), "Last-Event-ID", "18446744073709551615")
	for i := range 5 {
		second.produce("T", fmt.Sprintf(`[{"data":"%d"},{"data":"key\n%d","key":"k.1"}]`, i, i))
		want := []string{fmt.Sprint(i), fmt.Sprintf("key\n%d", i)}
		if i == 0 {
			assert.Equal(t, append(numbers(149, 2), want...), textsOf(late.next(4)))
			assert.Equal(t, append(numbers(149, 2), want...), textsOf(resumed.next(4)))
		} else {
			assert.Equal(t, want, textsOf(late.next(2)))
			assert.Equal(t, want, textsOf(resumed.next(2)))
		}
		assert.Equal(t, want, textsOf(all.next(2)))
		assert.Equal(t, want, textsOf(fresh.next(2)))
		assert.Equal(t, want[1:], textsOf(keyed.next(1)))
	}
	got, _ := last.read()
	assert.True(t, got.comment, "there is nothing behind the last of all sequences")
	first.del(path("T")).is(http.StatusNoContent)
	all.fails("topic_not_found")
}

func TestStream_SilentHasHeartbeats(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	c := a.consumer("T", "")
	for _, from := range []string{path("T", "messages"), path("T", "consumers", c.ID, "stream")} {
		stream := a.stream(from)
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
	first.topic("T", "")
	c := first.consumer("T", "")
	first.fill("T", 1, 300)
	var got []string
	var headers []string
	for i := range 10 { // of which each breaks in the middle
		stream := []api{first, second}[i%2].stream(path("T", "consumers", c.ID, "stream"), headers...)
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
	a.topic("T", "")
	c := a.consumer("T", `{"mode":"lease","lease":"500ms"}`)
	a.fill("T", 0, 3)
	stream := a.stream(path("T", "consumers", c.ID, "stream"))
	got := stream.next(3)
	assert.Equal(t, numbers(0, 3), textsOf(got))
	a.settle("T", c.ID, "ack", tokensOf(got[:2]), "").is(http.StatusNoContent)
	again := stream.next(1)
	assert.Equal(t, "2", again[0].text())
	assert.Equal(t, 2, again[0].Deliveries)
	a.settle("T", c.ID, "ack", tokensOf(again), "").is(http.StatusNoContent)
	stream.close()
	a.fill("T", 3, 1)
	assert.Equal(t, []string{"3"}, textsOf(a.fetch("T", c.ID, within)), "a stream that was closed takes nothing")

	stream = a.stream(path("T", "consumers", c.ID, "stream"))
	a.del(path("T", "consumers", c.ID)).is(http.StatusNoContent)
	a.fill("T", 4, 1)
	stream.fails("consumer_not_found")
}

func TestStream_EndsWhenTheBrokerStops(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Config(""))
	a := newAPI(t, b.URL())
	a.topic("T", "")
	c := a.consumer("T", "")
	streams := []*events{a.stream(path("T", "messages")), a.stream(path("T", "consumers", c.ID, "stream"))}
	_, socket := stalled(t, a, "T"), a.socket("T", c.ID)
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

// stalled fills topic and opens a stream of a consumer of it that stops reading.
func stalled(t *testing.T, a api, topic string) consumer {
	t.Helper()
	c := a.consumer(topic, `{"start":"first"}`)
	large := fmt.Sprintf(`[%s]`, strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"data":"%s","key":"large"},`, strings.Repeat("x", 100_000)), 50), ","))
	var now struct{ Bytes uint64 }
	for a.get(path(topic)).into(&now); now.Bytes < 12_000_000; a.get(path(topic)).into(&now) {
		a.produce(topic, large)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path(topic, "consumers", c.ID, "stream"))
	_, err = conn.Read(make([]byte, 100))
	require.NoError(t, err)
	return c
}

func TestStream_StalledReadersCostNoMemoryAndSlowNobody(t *testing.T) {
	t.Parallel()
	a, process := startProcess(t, t.TempDir())
	a.topic("T", "")
	const readers, messages, ahead = 190, 100, 20
	var streams []*events
	for range readers {
		streams = append(streams, a.stream(path("T", "messages")+"?key=small"))
	}
	read := func(from, n int) {
		var done sync.WaitGroup
		for _, stream := range streams {
			done.Go(func() {
				var got []string
				for len(got) < n {
					e, ok := stream.read()
					if !ok {
						break
					}
					if !e.comment {
						_, text, _ := strings.Cut(e.data, `"data":"`)
						got = append(got, strings.TrimRight(text, `"}`))
					}
				}
				same(t, numbers(from, n), got)
			})
		}
		for i := range n / 10 {
			a.produce("T", batchOf(from+i*10, 10, `,"key":"small"`))
		}
		done.Wait()
	}
	read(0, ahead)
	stopped := []consumer{stalled(t, a, "T")}
	before := memory(process)
	for range 9 {
		stopped = append(stopped, stalled(t, a, "T"))
	}
	read(ahead, messages)
	for _, c := range stopped {
		assert.Greater(t, a.describe("T", c.ID).Lag, uint64(ahead+messages), "nothing is taken that the reader does not take")
	}
	after := memory(process)
	t.Logf("%d MiB, then %d MiB", before>>20, after>>20)
	assert.LessOrEqual(t, after, before+150<<20)
}

// memory is how much of it a process has, in bytes; 0 if this system does not
// tell.
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

// TestStream_OrderIsThatOfTheTopic checks it while many produce.
func TestStream_OrderIsThatOfTheTopic(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	stream := second.stream(path("T", "messages"))
	var done sync.WaitGroup
	for i := range 4 {
		done.Go(func() {
			for range 50 {
				[]api{first, second}[i%2].produce("T", `{"data":"x"}`)
			}
		})
	}
	var sequences []uint64
	for _, m := range stream.next(200) {
		sequences = append(sequences, m.Sequence)
	}
	done.Wait()
	assert.True(t, slices.IsSorted(sequences))
	assert.EqualValues(t, 200, sequences[199])
}
