package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

// server speaks to one broker as an old client does.
type server struct {
	t   testing.TB
	url string
}

func start(t testing.TB, cfg broker.Config) server {
	return server{t, brokertest.Start(t, cfg).URL()}
}

// answer is every field that an answer may have.
type answer struct {
	HTTP       int
	Status     string
	Code       string
	Message    any
	ProducerID *int64  `json:"producer_id"`
	ConsumerID *int64  `json:"consumer_id"`
	Size       *uint64 `json:"size"`
}

func (s server) do(method, path, body string) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	var out answer
	require.NoError(s.t, json.Unmarshal(raw, &out), "the answer to %s %s is no JSON: %s", method, path, raw)
	require.Contains(s.t, response.Header.Get("Content-Type"), "application/json")
	out.HTTP = response.StatusCode
	if out.HTTP == http.StatusOK {
		require.Equal(s.t, "success", out.Status)
	} else {
		require.Equal(s.t, "failure", out.Status)
		require.NotEmpty(s.t, out.Code)
		require.NotEmpty(s.t, out.Message)
	}
	return out
}

func (s server) post(path string, fields map[string]any) answer {
	s.t.Helper()
	body, err := json.Marshal(fields)
	require.NoError(s.t, err)
	return s.do(http.MethodPost, path, string(body))
}

func (s server) createTopic(topic string) answer {
	return s.post("/topics", map[string]any{"topic_name": topic})
}

func (s server) registerProducer(topic string) int64 {
	s.t.Helper()
	a := s.post("/producer/register", map[string]any{"topic": topic})
	require.Equal(s.t, http.StatusOK, a.HTTP, a.Message)
	return *a.ProducerID
}

func (s server) registerConsumer(topic string) int64 {
	s.t.Helper()
	a := s.post("/consumer/register", map[string]any{"topic": topic})
	require.Equal(s.t, http.StatusOK, a.HTTP, a.Message)
	return *a.ConsumerID
}

func (s server) produce(topic string, producer any, message string) answer {
	s.t.Helper()
	return s.post("/producer/produce", map[string]any{"topic": topic, "producer_id": producer, "message": message})
}

func (s server) get(path, topic string, consumer any) answer {
	s.t.Helper()
	query := url.Values{"topic": {topic}, "consumer_id": {fmt.Sprint(consumer)}}
	return s.do(http.MethodGet, path+"?"+query.Encode(), "")
}

func (s server) consume(topic string, consumer any) answer {
	s.t.Helper()
	return s.get("/consumer/consume", topic, consumer)
}

func (s server) size(topic string, consumer any) uint64 {
	s.t.Helper()
	a := s.get("/size", topic, consumer)
	require.Equal(s.t, http.StatusOK, a.HTTP, a.Message)
	return *a.Size
}

// refused checks an answer that refuses a classic call.
func refused(t *testing.T, a answer, code, message string) {
	t.Helper()
	assert.Equal(t, http.StatusBadRequest, a.HTTP)
	assert.Equal(t, code, a.Code)
	assert.Equal(t, message, a.Message)
}

func TestClassic_CallsAnswerAsTheContractSays(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		s := start(t, cfg)
		refused(t, s.do(http.MethodGet, "/topics", ""), "no_topics", "No Topic found")

		a := s.createTopic("T1")
		assert.Equal(t, http.StatusOK, a.HTTP)
		assert.Equal(t, "Topic:T1 created successfully", a.Message)
		refused(t, s.createTopic("T1"), "topic_exists", "Topic:T1 already exist")

		assert.EqualValues(t, 0, s.registerConsumer("T1"))
		refused(t, s.post("/consumer/register", map[string]any{"topic": "T2"}), "topic_not_found", "Topic:T2 does not exist")
		assert.EqualValues(t, 0, s.registerProducer("T1"))
		assert.EqualValues(t, 1, s.registerProducer("T2"), "registering a producer makes the topic; ids count over all topics")
		assert.EqualValues(t, 1, s.registerConsumer("T2"))
		assert.Equal(t, []any{"T1", "T2"}, s.do(http.MethodGet, "/topics", "").Message)

		assert.Equal(t, http.StatusOK, s.produce("T1", 0, "INFO").HTTP)
		refused(t, s.produce("T9", 7, "x"), "producer_not_found", "Producer:7 does not exist")
		refused(t, s.produce("T9", 0, "x"), "topic_not_found", "Topic:T9 does not exist")
		refused(t, s.produce("T2", 0, "x"), "producer_not_registered", "Producer:0 is not registered with Topic:T2")

		for _, path := range []string{"/consumer/consume", "/size"} {
			refused(t, s.get(path, "T9", 7), "consumer_not_found", "Consumer:7 does not exist")
			refused(t, s.get(path, "T9", 0), "topic_not_found", "Topic:T9 does not exist")
			refused(t, s.get(path, "T2", 0), "consumer_not_registered", "Consumer:0 is not registered with Topic:T2")
			refused(t, s.get(path, "T1", -1), "consumer_not_found", "Consumer:-1 does not exist")
		}
		assert.EqualValues(t, 1, s.size("T1", 0))
		assert.Equal(t, "INFO", s.consume("T1", 0).Message)
		refused(t, s.consume("T1", 0), "empty", "Empty logs for Comsumer:0 for Topic:T1")
		assert.EqualValues(t, 0, s.size("T1", 0))
		refused(t, s.consume("T2", 1), "empty", "Empty logs for Comsumer:1 for Topic:T2")
	})
}

func TestClassic_IDsMayBeStringsAndParametersMayBeABody(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	producer := s.registerProducer("T1")
	consumer := s.registerConsumer("T1")
	for i := range 4 {
		assert.Equal(t, http.StatusOK, s.produce("T1", fmt.Sprint(producer), fmt.Sprint("m", i)).HTTP)
	}
	assert.Equal(t, "m0", s.do(http.MethodGet, "/consumer/consume", `{"topic":"T1","consumer_id":0}`).Message)
	assert.Equal(t, "m1", s.do(http.MethodGet, "/consumer/consume", `{"topic":"T1","consumer_id":"0"}`).Message)
	assert.Equal(t, "m2", s.do(http.MethodGet, "/consumer/consume?topic=T1&consumer_id=0", `{"topic":"other","consumer_id":7}`).Message,
		"the query goes first")
	assert.Equal(t, "m3", s.do(http.MethodGet, "/consumer/consume?topic=T1", `{"consumer_id":0}`).Message)
	assert.EqualValues(t, 0, s.size("T1", consumer))
}

func TestClassic_TopicNamesWorkOrAreRefusedWithTheRule(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	works := []string{"T-1", "a_b", "a.b", "a b", "*", ">", "a.*.>", "$JS.API", "ünï", "主题", "🎉", "/etc/passwd", `..\x`, "a\x00b", "=", "=2E", "%", "\n", strings.Repeat("x", 200)}
	for _, topic := range works {
		require.Equal(t, http.StatusOK, s.createTopic(topic).HTTP, "%q", topic)
		producer, consumer := s.registerProducer(topic), s.registerConsumer(topic)
		require.Equal(t, http.StatusOK, s.produce(topic, producer, topic).HTTP, "%q", topic)
		require.Equal(t, topic, s.consume(topic, consumer).Message)
	}
	var listed []string
	for _, topic := range s.do(http.MethodGet, "/topics", "").Message.([]any) {
		listed = append(listed, topic.(string))
	}
	assert.Equal(t, works, listed)

	for topic, rule := range map[string]string{
		"":                       "empty",
		"subl":                   "reserved",
		"publ":                   "reserved",
		"a--b":                   `"--"`,
		"a–b":                    `"–"`,
		strings.Repeat("x", 241): "241 bytes",
		strings.Repeat("ü", 41):  "246 bytes",
	} {
		for _, path := range []string{"/topics", "/producer/register"} {
			a := s.post(path, map[string]any{"topic_name": topic, "topic": topic})
			assert.Equal(t, http.StatusBadRequest, a.HTTP, "%q", topic)
			assert.Equal(t, "invalid_topic_name", a.Code, "%q", topic)
			assert.Contains(t, a.Message, rule, "%q", topic)
		}
		assert.Equal(t, "topic_not_found", s.post("/consumer/register", map[string]any{"topic": topic}).Code, "%q", topic)
	}
}

func TestClassic_MessagesComeBackUnchanged(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		s := start(t, cfg)
		producer, consumer := s.registerProducer("T"), s.registerConsumer("T")
		messages := []string{"", " ", "INFO", "<&>\"\\/", "\x00\x1f\x7f", "ü 主题 🎉 \u2028", strings.Repeat("x", cfg.MaxMessageBytes), strings.Repeat("\x00", cfg.MaxMessageBytes)}
		for i, message := range messages {
			require.Equal(t, http.StatusOK, s.produce("T", producer, message).HTTP)
			require.EqualValues(t, i+1, s.size("T", consumer), "size counts what was produced, at once")
		}
		for i, message := range messages {
			require.True(t, message == s.consume("T", consumer).Message, "message %d differs", i)
			require.EqualValues(t, len(messages)-i-1, s.size("T", consumer))
		}
		a := s.produce("T", producer, strings.Repeat("x", cfg.MaxMessageBytes+1))
		assert.Equal(t, "message_too_large", a.Code)
		assert.Equal(t, http.StatusBadRequest, a.HTTP)
		assert.EqualValues(t, 0, s.size("T", consumer))
	})
}

func TestClassic_ConsumersAreIndependentAndStartAtTheirRegistration(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	producer := s.registerProducer("T")
	const messages = 200 // more than are read ahead at once
	var consumers []int64
	for i := range messages {
		if i%50 == 0 {
			consumers = append(consumers, s.registerConsumer("T"))
		}
		require.Equal(t, http.StatusOK, s.produce("T", producer, fmt.Sprint(i)).HTTP)
	}
	var done sync.WaitGroup
	for n, consumer := range consumers {
		done.Go(func() {
			for i := n * 50; i < messages; i++ {
				assert.Equal(t, fmt.Sprint(i), s.consume("T", consumer).Message)
			}
			assert.Equal(t, "empty", s.consume("T", consumer).Code)
		})
	}
	done.Wait()
}

func TestClassic_ConcurrentConsumesOfOneConsumerNeverRepeat(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	producer, consumer := s.registerProducer("T"), s.registerConsumer("T")
	const messages = 300
	for i := range messages {
		s.produce("T", producer, fmt.Sprint(i))
	}
	var mu sync.Mutex
	seen := make(map[any]int)
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			for {
				a := s.consume("T", consumer)
				if a.Code == "empty" {
					return
				}
				mu.Lock()
				seen[a.Message]++
				mu.Unlock()
			}
		})
	}
	done.Wait()
	assert.Len(t, seen, messages)
	for message, times := range seen {
		assert.Equal(t, 1, times, "message %v", message)
	}
}

func TestClassic_ConcurrentRegistrationsGetDenseIDs(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		s := start(t, cfg)
		const registrations = 200
		ids := make(chan int64, 2*registrations)
		var done sync.WaitGroup
		for worker := range 8 {
			done.Go(func() {
				for i := range registrations / 8 {
					ids <- s.registerProducer(fmt.Sprint("T", (worker+i)%3))
				}
			})
		}
		done.Wait()
		close(ids)
		got := make(map[int64]bool)
		for id := range ids {
			assert.False(t, got[id], "id %d was given twice", id)
			assert.True(t, 0 <= id && id < registrations, "id %d is not dense", id)
			got[id] = true
		}
		assert.Len(t, got, registrations)
	})
}

func TestClassic_OneOfConcurrentCreationsSucceeds(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	for round := range 20 {
		statuses := make(chan int, 8)
		var done sync.WaitGroup
		for range cap(statuses) {
			done.Go(func() { statuses <- s.createTopic(fmt.Sprint("T", round)).HTTP })
		}
		done.Wait()
		close(statuses)
		count := make(map[int]int)
		for status := range statuses {
			count[status]++
		}
		assert.Equal(t, map[int]int{http.StatusOK: 1, http.StatusBadRequest: 7}, count)
	}
}

func TestClassic_BadCallsAreRefusedWithTheirReason(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	s.registerProducer("T")
	s.registerConsumer("T")
	large := strings.Repeat("x", 20_000_000)
	tests := []struct {
		name, method, path, body string
		status                   int
		code, message            string // message: what the answer's has to contain
	}{
		{"empty body", "POST", "/topics", ``, 400, "invalid_json", "JSON"},
		{"no JSON", "POST", "/topics", `topic_name=T1`, 400, "invalid_json", "JSON"},
		{"cut off", "POST", "/topics", `{"topic_name":"T1"`, 400, "invalid_json", "JSON"},
		{"two values", "POST", "/topics", `{"topic_name":"T1"}{}`, 400, "invalid_json", "JSON"},
		{"array", "POST", "/topics", `["T1"]`, 400, "invalid_json", "object"},
		{"string", "POST", "/topics", `"T1"`, 400, "invalid_json", "object"},
		{"null", "POST", "/topics", `null`, 400, "missing_field", "topic_name"},
		{"missing name", "POST", "/topics", `{}`, 400, "missing_field", "topic_name"},
		{"null name", "POST", "/topics", `{"topic_name":null}`, 400, "missing_field", "topic_name"},
		{"number for a name", "POST", "/topics", `{"topic_name":1}`, 400, "invalid_field", "topic_name"},
		{"object for a name", "POST", "/topics", `{"topic_name":{}}`, 400, "invalid_field", "topic_name"},
		{"field twice", "POST", "/topics", `{"topic_name":"T1","topic_name":"T2"}`, 400, "invalid_json", "topic_name"},
		{"invalid UTF-8", "POST", "/topics", "{\"topic_name\":\"\xff\"}", 400, "invalid_json", "UTF-8"},
		{"half a surrogate pair", "POST", "/topics", `{"topic_name":"\ud800"}`, 400, "invalid_json", "surrogate"},
		{"deep nesting", "POST", "/topics", strings.Repeat("[", 100_000), 400, "invalid_json", ""},
		{"consumer without topic", "POST", "/consumer/register", `{}`, 400, "missing_field", `"topic"`},
		{"producer without topic", "POST", "/producer/register", `{}`, 400, "missing_field", `"topic"`},
		{"produce without topic", "POST", "/producer/produce", `{"producer_id":0,"message":""}`, 400, "missing_field", `"topic"`},
		{"produce without id", "POST", "/producer/produce", `{"topic":"T","message":""}`, 400, "missing_field", "producer_id"},
		{"produce without message", "POST", "/producer/produce", `{"topic":"T","producer_id":0}`, 400, "missing_field", "message"},
		{"produce null", "POST", "/producer/produce", `{"topic":"T","producer_id":0,"message":null}`, 400, "missing_field", "message"},
		{"produce a number", "POST", "/producer/produce", `{"topic":"T","producer_id":0,"message":1}`, 400, "invalid_field", "message"},
		{"produce with a fraction", "POST", "/producer/produce", `{"topic":"T","producer_id":0.5,"message":""}`, 400, "invalid_field", "producer_id"},
		{"produce with a word", "POST", "/producer/produce", `{"topic":"T","producer_id":"one","message":""}`, 400, "invalid_field", "producer_id"},
		{"produce with no digits", "POST", "/producer/produce", `{"topic":"T","producer_id":"","message":""}`, 400, "invalid_field", "producer_id"},
		{"produce with a list", "POST", "/producer/produce", `{"topic":"T","producer_id":[0],"message":""}`, 400, "invalid_field", "producer_id"},
		{"produce with true", "POST", "/producer/produce", `{"topic":"T","producer_id":true,"message":""}`, 400, "invalid_field", "producer_id"},
		{"negative id", "POST", "/producer/produce", `{"topic":"T","producer_id":-1,"message":""}`, 400, "producer_not_found", "Producer:-1 does not exist"},
		{"huge id", "POST", "/producer/produce", `{"topic":"T","producer_id":99999999999999999999,"message":""}`, 400, "producer_not_found", "Producer:99999999999999999999 does not exist"},
		{"huge id in a string", "POST", "/producer/produce", `{"topic":"T","producer_id":"99999999999999999999","message":""}`, 400, "producer_not_found", "does not exist"},
		{"large body", "POST", "/producer/produce", `{"topic":"T","producer_id":0,"message":"` + large + `"}`, 400, "body_too_large", "limit"},
		{"consume nothing", "GET", "/consumer/consume", ``, 400, "missing_field", "topic"},
		{"consume without id", "GET", "/consumer/consume?topic=T", ``, 400, "missing_field", "consumer_id"},
		{"consume without topic", "GET", "/consumer/consume?consumer_id=0", ``, 400, "missing_field", "topic"},
		{"consume with a word", "GET", "/consumer/consume?topic=T&consumer_id=x", ``, 400, "invalid_field", "consumer_id"},
		{"consume with a sign", "GET", "/consumer/consume?topic=T&consumer_id=%2B0", ``, 400, "invalid_field", "consumer_id"},
		{"consume with no digits", "GET", "/consumer/consume?topic=T&consumer_id=", ``, 400, "invalid_field", "consumer_id"},
		{"consume with a bad body", "GET", "/consumer/consume?topic=T", `{`, 400, "invalid_json", "JSON"},
		{"consume with invalid UTF-8", "GET", "/consumer/consume?topic=%ff&consumer_id=0", ``, 400, "invalid_field", "topic"},
		{"size of a huge id", "GET", "/size?topic=T&consumer_id=9223372036854775808", ``, 400, "consumer_not_found", "9223372036854775808"},
		{"unknown path", "GET", "/nothing", ``, 404, "path_not_found", "/nothing"},
		{"unknown path and large body", "POST", "/nothing", large, 413, "body_too_large", "limit"},
		{"case of a path", "GET", "/Topics", ``, 404, "path_not_found", "/Topics"},
		{"unknown method", "DELETE", "/topics", ``, 405, "method_not_allowed", "GET"},
		{"consume by POST", "POST", "/consumer/consume", `{"topic":"T","consumer_id":0}`, 405, "method_not_allowed", "GET"},
		{"produce by GET", "GET", "/producer/produce", ``, 405, "method_not_allowed", "POST"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := server{t, s.url}
			a := s.do(test.method, test.path, test.body)
			assert.Equal(t, test.status, a.HTTP, a.Message)
			assert.Equal(t, test.code, a.Code, a.Message)
			assert.Contains(t, a.Message, test.message)
		})
	}
	t.Cleanup(func() {
		assert.Equal(t, []any{"T"}, s.do(http.MethodGet, "/topics", "").Message, "nothing was half done")
		assert.EqualValues(t, 0, s.size("T", 0))
		assert.EqualValues(t, 1, s.registerProducer("T"))
		assert.EqualValues(t, 1, s.registerConsumer("T"))
	})
}

func TestClassic_HeadRequestDoesNotConsume(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	producer, consumer := s.registerProducer("T"), s.registerConsumer("T")
	s.produce("T", producer, "INFO")
	response, err := http.Head(fmt.Sprintf("%s/consumer/consume?topic=T&consumer_id=%d", s.url, consumer))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
	assert.EqualValues(t, 1, s.size("T", consumer))
}

func TestClassic_CallsShareConsumersWithV1(t *testing.T) {
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
