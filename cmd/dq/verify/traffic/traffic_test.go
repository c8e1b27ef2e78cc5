package traffic

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/verify/history"
)

// broker is a server that answers as a test says, and keeps the requests.
type broker struct {
	url string

	mu   sync.Mutex
	sent []string // method, path and body of each request
}

// requests returns the requests that came so far.
func (b *broker) requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.sent)
}

func startBroker(t *testing.T, answer http.HandlerFunc) *broker {
	t.Helper()
	b := &broker{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.sent = append(b.sent, fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body))
		b.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// answering answers every request with that status and body.
func answering(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// newWorker returns a worker of a round on topic t of the broker with that URL.
func newWorker(url string) *worker {
	opts := Options{URLs: []string{url}, Timeout: 10 * time.Second, Patience: 10 * time.Second}
	client := NewClient(opts, history.NewRecorder(nil))
	return (&round{Client: client, ctx: context.Background(), topic: "t", id: "1"}).worker("w")
}

func TestClient_AnswerDecidesTheOutcome(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status int
		body   string
		want   history.Op
	}{
		"success": {status: 200, body: `{"size":3}`, want: history.Op{Outcome: history.OK, Status: 200, Size: 3}},
		"created": {status: 201, body: `{"size":0}`, want: history.Op{Outcome: history.OK, Status: 201, Created: true}},
		"success without its field": {
			status: 200, body: `{}`,
			want: history.Op{Outcome: history.Unknown, Status: 200, Code: "bad_answer"},
		},
		"success that is no JSON": {
			status: 200, body: `hello`,
			want: history.Op{Outcome: history.Unknown, Status: 200, Code: "bad_answer"},
		},
		"refusal": {
			status: 400, body: `{"code":"empty"}`,
			want: history.Op{Outcome: history.Refused, Status: 400, Code: "empty"},
		},
		"refusal without a code": {
			status: 404, body: `not found`,
			want: history.Op{Outcome: history.Refused, Status: 404, Code: "bad_answer"},
		},
		"refusal with tokens": {
			status: 409, body: `{"code":"lease_lost","tokens":["x"]}`,
			want: history.Op{Outcome: history.Refused, Status: 409, Code: "lease_lost", LostTokens: []string{"x"}},
		},
		"batch with receipts": {
			status: 409, body: `{"code":"batch","messages":[{"sequence":4}]}`,
			want: history.Op{
				Outcome: history.Unknown, Status: 409, Code: "batch", Receipts: []history.Receipt{{Sequence: 4}},
			},
		},
		"failure": {
			status: 503, body: `{"code":"unavailable"}`,
			want: history.Op{Outcome: history.Unknown, Status: 503, Code: "unavailable"},
		},
		"turned away": {
			status: 503, body: `{"code":"overloaded"}`,
			want: history.Op{Outcome: history.Refused, Status: 503, Code: "overloaded"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorker(startBroker(t, answering(test.status, test.body)).url)

			op := w.size(5)

			want := test.want
			want.N, want.Worker, want.Topic, want.Kind, want.ID = 1, "w", "t", history.OpSize, 5
			want.Call, want.Return = op.Call, op.Return
			assert.Equal(t, want, *op)
			assert.Less(t, op.Call, op.Return)
			assert.Equal(t, []*history.Op{op}, w.rec.Take("t"), "it is recorded")
		})
	}
}

func TestClient_NoAnswerIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	w := newWorker(startBroker(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }).url)

	op := w.size(5)

	assert.Equal(t, history.Unknown, op.Outcome)
	assert.Equal(t, "no_answer", op.Code)
	assert.Zero(t, op.Status)
}

func TestClient_RequestIsSentOnce(t *testing.T) {
	t.Parallel()
	first := true
	b := startBroker(t, func(w http.ResponseWriter, _ *http.Request) {
		if !first {
			panic(http.ErrAbortHandler) // on a connection that was used: net/http would repeat a GET
		}
		first = false
		_, _ = io.WriteString(w, `{"size":0}`)
	})
	w := newWorker(b.url)

	answered, cutOff := w.size(1), w.size(2)

	assert.Equal(t, history.OK, answered.Outcome)
	assert.Equal(t, history.Unknown, cutOff.Outcome)
	assert.Len(t, b.requests(), 2)
}

func TestClient_BrokerThatDoesNotListenWasNotCalled(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	w := newWorker(server.URL)

	op := w.size(5)

	assert.Equal(t, history.Unreachable, op.Outcome)
	assert.Empty(t, w.rec.Take("t"), "it is counted only")
	assert.Equal(t, int64(1), w.rec.Operations())
}

func TestClient_HangUpIsCountedAsAFault(t *testing.T) {
	t.Parallel()
	w := newWorker(startBroker(t, answering(200, `{"size":0}`)).url)
	w.opts.HangUp = true

	for range 40 * hangUpShare {
		if w.size(1); w.rec.Totals().Faults[history.FaultClients] > 0 {
			break
		}
	}

	assert.Positive(t, w.rec.Totals().Faults[history.FaultClients])
}

func TestCalls_SendTheRequestsOfTheAPI(t *testing.T) {
	t.Parallel()
	b := startBroker(t, answering(200,
		`{"id":7,"position":3,"producer_id":8,"consumer_id":9,"message":"hi","messages":[]}`))
	w := newWorker(b.url)
	payload := history.Payload("m")

	producer, classic := w.registerProducer(), w.registerConsumer()
	consumer := w.createConsumer(consumerSpec{name: "n", mode: modeLease, lease: time.Second, first: true})
	w.produce(8, "m")
	w.append(batch{names: []string{"m"}, key: "key"})
	w.append(batch{names: []string{"m"}, atomic: true})
	consumed := w.consume(9)
	w.fetch(7, time.Second)
	w.leaseCall(history.OpNack, 7, []string{"x"})
	w.browse(browseOptions{from: 4, limit: 5})
	w.get(6)
	w.describeConsumer("n")
	w.topicCall(history.OpDeleteTopic, "t")

	assert.EqualValues(t, 8, producer.ID)
	assert.EqualValues(t, 9, classic.ID)
	assert.EqualValues(t, 7, consumer.ID)
	assert.Equal(t, uint64(3), consumer.From)
	assert.Equal(t, []history.Message{{Data: `"hi" of 2 bytes`}}, consumed.Got)
	assert.Equal(t, []string{
		`POST /producer/register {"topic":"t"}`,
		`POST /consumer/register {"topic":"t"}`,
		`POST /v1/topics/t/consumers {"lease":"1s","max_in_flight":10000,"mode":"lease","name":"n","start":"first"}`,
		`POST /producer/produce {"message":"` + payload + `","producer_id":8,"topic":"t"}`,
		`POST /v1/topics/t/messages [{"data":"` + payload + `"}]`,
		`POST /v1/topics/t/messages?atomic=true [{"data":"` + payload + `"}]`,
		`GET /consumer/consume?consumer_id=9&topic=t `,
		`POST /v1/topics/t/consumers/7/fetch?limit=8&wait=1s `,
		`POST /v1/topics/t/consumers/7/nack {"tokens":["x"]}`,
		`GET /v1/topics/t/messages?from=4&limit=5 `,
		`GET /v1/topics/t/messages/6 `,
		`GET /v1/topics/t/consumers/n `,
		`DELETE /v1/topics/t `,
	}, b.requests())
}

func TestStream_ReadsCompleteEvents(t *testing.T) {
	t.Parallel()
	w := newWorker("")
	event := func(sequence int, name string) string {
		return fmt.Sprintf("id: %d\ndata: {\"sequence\":%d,\"data\":%q}\n\n", sequence, sequence, history.Payload(name))
	}
	complete := event(1, "a") + ": heartbeat\n\n" + event(2, "b")

	broken := w.readEvents(bufio.NewReader(strings.NewReader(complete+"data: {\"sequence\":3")), 10)
	failed := w.readEvents(bufio.NewReader(strings.NewReader(complete+"event: error\n"+event(3, "c"))), 10)
	limited := w.readEvents(bufio.NewReader(strings.NewReader(complete+event(3, "c"))), 0)
	noJSON := w.readEvents(bufio.NewReader(strings.NewReader("data: oops\n\n")), 10)

	assert.Equal(t, []string{"a", "b"}, namesOf(broken), "what is not complete was not received")
	assert.Equal(t, []string{"a", "b"}, namesOf(failed))
	assert.Equal(t, []string{"a"}, namesOf(limited), "it ends when there are more than 0")
	assert.Equal(t, []string{`"oops" of 4 bytes`}, namesOf(noJSON))
	assert.Positive(t, broken[0].At)
	assert.Equal(t, uint64(2), broken[1].Sequence)
}

func namesOf(messages []history.Message) (names []string) {
	for _, m := range messages {
		names = append(names, m.Data)
	}
	return names
}

func TestWorker_RetriesUntilItIsAnswered(t *testing.T) {
	t.Parallel()
	calls := 0
	w := newWorker(startBroker(t, func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls < 3 {
			answering(503, `{"code":"unavailable"}`)(w, r)
			return
		}
		answering(200, `{"size":0}`)(w, r)
	}).url)

	op, succeeded := w.retry("a size is read", func() *history.Op { return w.size(1) })

	assert.True(t, succeeded)
	assert.Equal(t, history.OK, op.Outcome)
	assert.Equal(t, 3, calls)
}

func TestWorker_RefusalIsAnAnswer(t *testing.T) {
	t.Parallel()
	b := startBroker(t, answering(404, `{"code":"topic_not_found"}`))
	w := newWorker(b.url)

	_, succeeded := w.retry("a size is read", func() *history.Op { return w.size(1) })

	assert.False(t, succeeded)
	assert.Len(t, b.requests(), 1)
}

func TestWorker_GivesUpWhenItsPatienceEnds(t *testing.T) {
	t.Parallel()
	w := newWorker(startBroker(t, answering(503, `{"code":"unavailable"}`)).url)
	w.opts.Patience = 100 * time.Millisecond

	_, succeeded := w.retry("a size is read", func() *history.Op { return w.size(1) })

	assert.False(t, succeeded)
	assert.True(t, w.gaveUp.Load())
	ops := w.rec.Take("t")
	stuck := slices.IndexFunc(ops, func(op *history.Op) bool { return op.Kind == history.OpStuck })
	require.GreaterOrEqual(t, stuck, 0)
	assert.Equal(t, "a size is read", ops[stuck].Name)
	assert.False(t, w.reserve(1), "nobody in the round goes on")
}

func TestRound_ReservesNoMoreMessagesThanItHas(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	w := newWorker("")
	w.ctx = ctx
	w.unsent.Store(5)

	batch, last, tooMany := w.reserve(4), w.reserve(1), w.reserve(1)
	w.unsent.Store(5)
	cancel()
	afterEnd := w.reserve(1)

	assert.True(t, batch)
	assert.True(t, last)
	assert.False(t, tooMany)
	assert.False(t, afterEnd)
}

func TestRound_GivesUpWithoutABroker(t *testing.T) {
	t.Parallel()
	b := startBroker(t, answering(503, `{"code":"unavailable"}`))
	rec := history.NewRecorder(nil)
	client := NewClient(Options{URLs: []string{b.url}, Timeout: time.Second, Patience: 50 * time.Millisecond}, rec)

	topics := client.RunRound(t.Context(), "t", "1")

	assert.Equal(t, []string{"t", "t-x"}, topics[:2])
	for i, topic := range topics {
		ops := rec.Take(topic)
		require.NotEmpty(t, ops)
		assert.Equal(t, history.OpScene, ops[0].Kind)
		last := ops[len(ops)-1]
		assert.Equal(t, history.OpEnd, last.Kind, "the history of %s is complete", topic)
		assert.Equal(t, i == len(topics)-1, last.Final, "one operation ends the round")
	}
}

func TestCleanup_DeletesTopicsWithThePrefixOnly(t *testing.T) {
	t.Parallel()
	b := startBroker(t, answering(200, `{"topics":[{"name":"verify-1"},{"name":"other"},{"name":"verify-1-x"}]}`))
	client := newWorker(b.url).Client

	err := client.DeleteTopics("verify-1")

	require.NoError(t, err)
	assert.Equal(t, []string{
		"GET /v1/topics?prefix=verify-1 ", "DELETE /v1/topics/verify-1 ", "DELETE /v1/topics/verify-1-x ",
	}, b.requests())
}

func TestCleanup_SaysWhichTopicsMayBeLeft(t *testing.T) {
	t.Parallel()
	client := newWorker(startBroker(t, answering(503, `{"code":"unavailable"}`)).url).Client
	client.opts.Patience = 50 * time.Millisecond

	err := client.DeleteTopics("verify-1")

	assert.ErrorContains(t, err, "topics with the prefix verify-1 may be left")
}
