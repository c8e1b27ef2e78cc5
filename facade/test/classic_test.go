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

// classic calls one broker as an old client does.
type classic struct {
	t   testing.TB
	url string
}

// classicAnswer has every field that an answer to a classic call may have, and its HTTP status.
type classicAnswer struct {
	HTTP       int
	Status     string
	Code       string
	Message    any
	ProducerID *int64  `json:"producer_id"`
	ConsumerID *int64  `json:"consumer_id"`
	Size       *uint64 `json:"size"`
}

// startClassic starts a broker and returns a client of its classic calls.
func startClassic(t testing.TB, cfg broker.Config) classic {
	return classic{t: t, url: brokertest.Start(t, cfg).URL()}
}

// do makes a call with a body of text. It fails the test unless the answer has the form of the classic API.
func (c classic) do(method, path, body string) classicAnswer {
	c.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), method, c.url+path, strings.NewReader(body))
	require.NoError(c.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(c.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)

	var out classicAnswer
	require.NoError(c.t, json.Unmarshal(text, &out), "the answer to %s %s is no JSON: %s", method, path, text)
	require.Contains(c.t, response.Header.Get("Content-Type"), "application/json")

	out.HTTP = response.StatusCode
	if out.HTTP == http.StatusOK {
		require.Equal(c.t, "success", out.Status)
	} else {
		require.Equal(c.t, "failure", out.Status)
		require.NotEmpty(c.t, out.Code)
		require.NotEmpty(c.t, out.Message)
	}
	return out
}

// post sends fields as JSON.
func (c classic) post(path string, fields object) classicAnswer {
	c.t.Helper()
	return c.do(http.MethodPost, path, jsonOf(c.t, fields))
}

// get sends a topic and a consumer in the query. Consumer is an id, or what a bad client sends in place of one.
func (c classic) get(path, topic string, consumer any) classicAnswer {
	c.t.Helper()
	query := url.Values{"topic": {topic}, "consumer_id": {fmt.Sprint(consumer)}}
	return c.do(http.MethodGet, path+"?"+query.Encode(), "")
}

// topics lists all topics, or refuses if there is none.
func (c classic) topics() classicAnswer {
	c.t.Helper()
	return c.do(http.MethodGet, "/topics", "")
}

// createTopic creates a topic.
func (c classic) createTopic(topic string) classicAnswer {
	c.t.Helper()
	return c.post("/topics", object{"topic_name": topic})
}

// registerProducer registers a producer and returns its id.
func (c classic) registerProducer(topic string) int64 {
	c.t.Helper()
	a := c.post("/producer/register", object{"topic": topic})
	require.Equal(c.t, http.StatusOK, a.HTTP, a.Message)
	return *a.ProducerID
}

// registerConsumer registers a consumer and returns its id.
func (c classic) registerConsumer(topic string) int64 {
	c.t.Helper()
	a := c.post("/consumer/register", object{"topic": topic})
	require.Equal(c.t, http.StatusOK, a.HTTP, a.Message)
	return *a.ConsumerID
}

// produce appends a message. Producer is an id, which may be a string.
func (c classic) produce(topic string, producer any, message string) classicAnswer {
	c.t.Helper()
	return c.post("/producer/produce", object{"topic": topic, "producer_id": producer, "message": message})
}

// consume takes the consumer's next message.
func (c classic) consume(topic string, consumer any) classicAnswer {
	c.t.Helper()
	return c.get("/consumer/consume", topic, consumer)
}

// size returns how many messages the consumer has not taken yet.
func (c classic) size(topic string, consumer any) uint64 {
	c.t.Helper()
	a := c.get("/size", topic, consumer)
	require.Equal(c.t, http.StatusOK, a.HTTP, a.Message)
	return *a.Size
}

// refused checks an answer that refuses a classic call.
func refused(t *testing.T, a classicAnswer, code, message string) {
	t.Helper()
	assert.Equal(t, http.StatusBadRequest, a.HTTP)
	assert.Equal(t, code, a.Code)
	assert.Equal(t, message, a.Message)
}

func TestClassic_CallsAnswerAsTheContractSays(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		c := startClassic(t, cfg)
		refused(t, c.topics(), "no_topics", "No Topic found")

		created := c.createTopic("T1")

		assert.Equal(t, http.StatusOK, created.HTTP)
		assert.Equal(t, "Topic:T1 created successfully", created.Message)
		refused(t, c.createTopic("T1"), "topic_exists", "Topic:T1 already exist")

		assert.EqualValues(t, 0, c.registerConsumer("T1"))
		refused(t, c.post("/consumer/register", object{"topic": "T2"}), "topic_not_found", "Topic:T2 does not exist")
		assert.EqualValues(t, 0, c.registerProducer("T1"))
		assert.EqualValues(t, 1, c.registerProducer("T2"), "it creates the topic; ids count over all topics")
		assert.EqualValues(t, 1, c.registerConsumer("T2"))
		assert.Equal(t, []any{"T1", "T2"}, c.topics().Message)

		assert.Equal(t, http.StatusOK, c.produce("T1", 0, "INFO").HTTP)
		assert.EqualValues(t, 1, c.size("T1", 0))
		assert.Equal(t, "INFO", c.consume("T1", 0).Message)
		refused(t, c.consume("T1", 0), "empty", "Empty logs for Comsumer:0 for Topic:T1")
		assert.EqualValues(t, 0, c.size("T1", 0))
		refused(t, c.consume("T2", 1), "empty", "Empty logs for Comsumer:1 for Topic:T2")
	})
}

func TestClassic_UnknownIDsAndTopicsAreRefused(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		c := startClassic(t, cfg)
		c.registerProducer("T1")
		c.registerProducer("T2")
		c.registerConsumer("T1")

		refused(t, c.produce("T9", 7, "x"), "producer_not_found", "Producer:7 does not exist")
		refused(t, c.produce("T9", 0, "x"), "topic_not_found", "Topic:T9 does not exist")
		refused(t, c.produce("T2", 0, "x"), "producer_not_registered", "Producer:0 is not registered with Topic:T2")
		for _, path := range []string{"/consumer/consume", "/size"} {
			refused(t, c.get(path, "T9", 7), "consumer_not_found", "Consumer:7 does not exist")
			refused(t, c.get(path, "T9", 0), "topic_not_found", "Topic:T9 does not exist")
			refused(t, c.get(path, "T2", 0), "consumer_not_registered", "Consumer:0 is not registered with Topic:T2")
			refused(t, c.get(path, "T1", -1), "consumer_not_found", "Consumer:-1 does not exist")
		}

		assert.EqualValues(t, 0, c.size("T1", 0))
	})
}

func TestClassic_IDsMayBeStringsAndParametersMayBeABody(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
	producer, consumer := c.registerProducer("T1"), c.registerConsumer("T1")
	for i := range 4 {
		assert.Equal(t, http.StatusOK, c.produce("T1", fmt.Sprint(producer), fmt.Sprint("m", i)).HTTP)
	}
	consume := func(query string, body object) any {
		t.Helper()
		return c.do(http.MethodGet, "/consumer/consume"+query, jsonOf(t, body)).Message
	}

	assert.Equal(t, "m0", consume("", object{"topic": "T1", "consumer_id": 0}))
	assert.Equal(t, "m1", consume("", object{"topic": "T1", "consumer_id": "0"}))
	assert.Equal(t, "m2", consume("?topic=T1&consumer_id=0", object{"topic": "other", "consumer_id": 7}),
		"the query goes first")
	assert.Equal(t, "m3", consume("?topic=T1", object{"consumer_id": 0}))

	assert.EqualValues(t, 0, c.size("T1", consumer))
}

func TestClassic_UnusualTopicNamesWork(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
	names := []string{
		"T-1", "a_b", "a.b", "a b", "*", ">", "a.*.>", "$JS.API", "ünï", "主题", "🎉",
		"/etc/passwd", `..\x`, "...", "=", "=2E", "%", strings.Repeat("x", 200),
	}
	for _, topic := range names {
		require.Equal(t, http.StatusOK, c.createTopic(topic).HTTP, "%q", topic)
		producer, consumer := c.registerProducer(topic), c.registerConsumer(topic)

		require.Equal(t, http.StatusOK, c.produce(topic, producer, topic).HTTP, "%q", topic)

		require.Equal(t, topic, c.consume(topic, consumer).Message)
	}

	var listed []string
	for _, topic := range c.topics().Message.([]any) {
		listed = append(listed, topic.(string))
	}
	assert.Equal(t, names, listed)
}

func TestClassic_BadTopicNamesAreRefusedWithTheRule(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
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
			a := c.post(path, object{"topic_name": topic, "topic": topic})

			assert.Equal(t, http.StatusBadRequest, a.HTTP, "%q", topic)
			assert.Equal(t, "invalid_topic_name", a.Code, "%q", topic)
			assert.Contains(t, a.Message, rule, "%q", topic)
		}
		assert.Equal(t, "topic_not_found", c.post("/consumer/register", object{"topic": topic}).Code, "%q", topic)
	}
}

func TestClassic_MessagesComeBackUnchanged(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		c := startClassic(t, cfg)
		producer, consumer := c.registerProducer("T"), c.registerConsumer("T")
		messages := []string{
			"", " ", "INFO", "<&>\"\\/", "\x00\x1f\x7f", "ü 主题 🎉 \u2028",
			strings.Repeat("x", cfg.MaxMessageBytes), strings.Repeat("\x00", cfg.MaxMessageBytes),
		}

		for i, message := range messages {
			require.Equal(t, http.StatusOK, c.produce("T", producer, message).HTTP)
			require.EqualValues(t, i+1, c.size("T", consumer), "size counts what was produced, at once")
		}

		for i, message := range messages {
			require.True(t, message == c.consume("T", consumer).Message, "message %d differs", i)
			require.EqualValues(t, len(messages)-i-1, c.size("T", consumer))
		}
		tooLarge := c.produce("T", producer, strings.Repeat("x", cfg.MaxMessageBytes+1))
		assert.Equal(t, "message_too_large", tooLarge.Code)
		assert.Equal(t, http.StatusBadRequest, tooLarge.HTTP)
		assert.EqualValues(t, 0, c.size("T", consumer))
	})
}

func TestClassic_ConsumersAreIndependentAndStartAtTheirRegistration(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
	producer := c.registerProducer("T")
	const messages = 200 // more than are read ahead at once
	var consumers []int64
	for i := range messages {
		if i%50 == 0 {
			consumers = append(consumers, c.registerConsumer("T"))
		}
		require.Equal(t, http.StatusOK, c.produce("T", producer, fmt.Sprint(i)).HTTP)
	}

	var reading sync.WaitGroup
	for n, consumer := range consumers {
		reading.Go(func() {
			for i := n * 50; i < messages; i++ {
				assert.Equal(t, fmt.Sprint(i), c.consume("T", consumer).Message)
			}
			assert.Equal(t, "empty", c.consume("T", consumer).Code)
		})
	}
	reading.Wait()
}

func TestClassic_ConcurrentConsumesOfOneConsumerNeverRepeat(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
	producer, consumer := c.registerProducer("T"), c.registerConsumer("T")
	const messages = 300
	for i := range messages {
		c.produce("T", producer, fmt.Sprint(i))
	}

	var mu sync.Mutex
	seen := make(map[any]int)
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for a := c.consume("T", consumer); a.Code != "empty"; a = c.consume("T", consumer) {
				mu.Lock()
				seen[a.Message]++
				mu.Unlock()
			}
		})
	}
	workers.Wait()

	assert.Len(t, seen, messages)
	for message, times := range seen {
		assert.Equal(t, 1, times, "message %v", message)
	}
}

func TestClassic_ConcurrentRegistrationsGetDenseIDs(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		c := startClassic(t, cfg)
		const registrations = 200

		ids := make(chan int64, registrations)
		var workers sync.WaitGroup
		for worker := range 8 {
			workers.Go(func() {
				for i := range registrations / 8 {
					ids <- c.registerProducer(fmt.Sprint("T", (worker+i)%3))
				}
			})
		}
		workers.Wait()
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
	c := startClassic(t, brokertest.Config(""))
	for round := range 20 {
		statuses := make(chan int, 8)
		var clients sync.WaitGroup
		for range cap(statuses) {
			clients.Go(func() { statuses <- c.createTopic(fmt.Sprint("T", round)).HTTP })
		}
		clients.Wait()
		close(statuses)

		count := make(map[int]int)
		for status := range statuses {
			count[status]++
		}
		assert.Equal(t, map[int]int{http.StatusOK: 1, http.StatusBadRequest: 7}, count)
	}
}

func TestClassic_HeadRequestDoesNotConsume(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
	producer, consumer := c.registerProducer("T"), c.registerConsumer("T")
	c.produce("T", producer, "INFO")

	response, err := http.Head(fmt.Sprintf("%s/consumer/consume?topic=T&consumer_id=%d", c.url, consumer))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	assert.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
	assert.EqualValues(t, 1, c.size("T", consumer))
}

func TestClassic_CallsShareConsumersWithV1(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	old := a.classic()
	producer, id := old.registerProducer("T"), old.registerConsumer("T")
	c := a.consumer("T", id)

	a.fill("T", 0, 3)
	old.produce("T", producer, "3")

	assert.EqualValues(t, 4, old.size("T", id))
	assert.EqualValues(t, 4, c.describe().Size)
	assert.Equal(t, "0", old.consume("T", id).Message)
	assert.Equal(t, numbers(1, 2), textsOf(c.fetch("limit=2")))
	assert.Equal(t, "3", old.consume("T", id).Message)
	assert.Empty(t, c.drain())
	c.ack([]string{"0-0-1-1"}).refuses(http.StatusConflict, "wrong_mode")
}

func TestClassic_CallsReadMessagesOfV1(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 4)
	c := a.register("T", object{"start": "first", "key": "k"})

	a.produce("T", []object{
		{"data": "x"},
		{"data": "4", "key": "k"},
		{"data_base64": []byte("\xff"), "key": "k"},
	})

	assert.EqualValues(t, 2, a.classic().size("T", c.ID))
	assert.Equal(t, "4", a.classic().consume("T", c.ID).Message)
	assert.Equal(t, "�", a.classic().consume("T", c.ID).Message, "bytes that are not UTF-8 are replaced")
	assert.Equal(t, "empty", a.classic().consume("T", c.ID).Code)
}

func TestClassic_ConsumeOfALeaseConsumerIsRefused(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 7)
	c := a.register("T", object{"mode": "lease", "start": "first"})

	answer := a.classic().consume("T", c.ID)

	assert.Equal(t, http.StatusBadRequest, answer.HTTP)
	assert.Equal(t, "wrong_mode", answer.Code)
	assert.EqualValues(t, 7, a.classic().size("T", c.ID))
}

func TestClassic_BadCallsAreRefusedWithTheirReason(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
	c.registerProducer("T")
	c.registerConsumer("T")
	large := strings.Repeat("x", 20_000_000)
	t.Cleanup(func() {
		assert.Equal(t, []any{"T"}, c.topics().Message, "nothing was half done")
		assert.EqualValues(t, 0, c.size("T", 0))
		assert.EqualValues(t, 1, c.registerProducer("T"))
		assert.EqualValues(t, 1, c.registerConsumer("T"))
	})

	for _, test := range []struct {
		name, call, body string // call: method and path
		status           int
		code, message    string // message: what that of the answer contains
	}{
		{name: "empty body", call: "POST /topics", status: 400, code: "invalid_json", message: "JSON"},
		{
			name: "no JSON", call: "POST /topics", body: `topic_name=T1`,
			status: 400, code: "invalid_json", message: "JSON",
		},
		{
			name: "cut off", call: "POST /topics", body: `{"topic_name":"T1"`,
			status: 400, code: "invalid_json", message: "JSON",
		},
		{
			name: "two values", call: "POST /topics", body: `{"topic_name":"T1"}{}`,
			status: 400, code: "invalid_json", message: "JSON",
		},
		{name: "array", call: "POST /topics", body: `["T1"]`, status: 400, code: "invalid_json", message: "object"},
		{name: "string", call: "POST /topics", body: `"T1"`, status: 400, code: "invalid_json", message: "object"},
		{name: "null", call: "POST /topics", body: `null`, status: 400, code: "missing_field", message: "topic_name"},
		{
			name: "missing name", call: "POST /topics", body: `{}`,
			status: 400, code: "missing_field", message: "topic_name",
		},
		{
			name: "null name", call: "POST /topics", body: `{"topic_name":null}`,
			status: 400, code: "missing_field", message: "topic_name",
		},
		{
			name: "number for a name", call: "POST /topics", body: `{"topic_name":1}`,
			status: 400, code: "invalid_field", message: "topic_name",
		},
		{
			name: "object for a name", call: "POST /topics", body: `{"topic_name":{}}`,
			status: 400, code: "invalid_field", message: "topic_name",
		},
		{
			name: "field twice", call: "POST /topics", body: `{"topic_name":"T1","topic_name":"T2"}`,
			status: 400, code: "invalid_json", message: "topic_name",
		},
		{
			name: "invalid UTF-8", call: "POST /topics", body: "{\"topic_name\":\"\xff\"}",
			status: 400, code: "invalid_json", message: "UTF-8",
		},
		{
			name: "half a surrogate pair", call: "POST /topics", body: `{"topic_name":"\ud800"}`,
			status: 400, code: "invalid_json", message: "surrogate",
		},
		{
			name: "deep nesting", call: "POST /topics", body: strings.Repeat("[", 100_000),
			status: 400, code: "invalid_json",
		},
		{
			name: "consumer without topic", call: "POST /consumer/register", body: `{}`,
			status: 400, code: "missing_field", message: `"topic"`,
		},
		{
			name: "producer without topic", call: "POST /producer/register", body: `{}`,
			status: 400, code: "missing_field", message: `"topic"`,
		},
		{
			name: "produce without topic", call: "POST /producer/produce", body: `{"producer_id":0,"message":""}`,
			status: 400, code: "missing_field", message: `"topic"`,
		},
		{
			name: "produce without id", call: "POST /producer/produce", body: `{"topic":"T","message":""}`,
			status: 400, code: "missing_field", message: "producer_id",
		},
		{
			name: "produce without message", call: "POST /producer/produce", body: `{"topic":"T","producer_id":0}`,
			status: 400, code: "missing_field", message: "message",
		},
		{
			name: "produce null", call: "POST /producer/produce", body: `{"topic":"T","producer_id":0,"message":null}`,
			status: 400, code: "missing_field", message: "message",
		},
		{
			name: "produce a number", call: "POST /producer/produce", body: `{"topic":"T","producer_id":0,"message":1}`,
			status: 400, code: "invalid_field", message: "message",
		},
		{
			name: "produce with a fraction", call: "POST /producer/produce",
			body:   `{"topic":"T","producer_id":0.5,"message":""}`,
			status: 400, code: "invalid_field", message: "producer_id",
		},
		{
			name: "produce with a word", call: "POST /producer/produce",
			body:   `{"topic":"T","producer_id":"one","message":""}`,
			status: 400, code: "invalid_field", message: "producer_id",
		},
		{
			name: "produce with no digits", call: "POST /producer/produce",
			body:   `{"topic":"T","producer_id":"","message":""}`,
			status: 400, code: "invalid_field", message: "producer_id",
		},
		{
			name: "produce with a list", call: "POST /producer/produce",
			body:   `{"topic":"T","producer_id":[0],"message":""}`,
			status: 400, code: "invalid_field", message: "producer_id",
		},
		{
			name: "produce with true", call: "POST /producer/produce",
			body:   `{"topic":"T","producer_id":true,"message":""}`,
			status: 400, code: "invalid_field", message: "producer_id",
		},
		{
			name: "negative id", call: "POST /producer/produce", body: `{"topic":"T","producer_id":-1,"message":""}`,
			status: 400, code: "producer_not_found", message: "Producer:-1 does not exist",
		},
		{
			name: "huge id", call: "POST /producer/produce",
			body:   `{"topic":"T","producer_id":99999999999999999999,"message":""}`,
			status: 400, code: "producer_not_found", message: "Producer:99999999999999999999 does not exist",
		},
		{
			name: "huge id in a string", call: "POST /producer/produce",
			body:   `{"topic":"T","producer_id":"99999999999999999999","message":""}`,
			status: 400, code: "producer_not_found", message: "does not exist",
		},
		{
			name: "large body", call: "POST /producer/produce",
			body:   `{"topic":"T","producer_id":0,"message":"` + large + `"}`,
			status: 400, code: "body_too_large", message: "limit",
		},
		{name: "consume nothing", call: "GET /consumer/consume", status: 400, code: "missing_field", message: "topic"},
		{
			name: "consume without id", call: "GET /consumer/consume?topic=T",
			status: 400, code: "missing_field", message: "consumer_id",
		},
		{
			name: "consume without topic", call: "GET /consumer/consume?consumer_id=0",
			status: 400, code: "missing_field", message: "topic",
		},
		{
			name: "consume with a word", call: "GET /consumer/consume?topic=T&consumer_id=x",
			status: 400, code: "invalid_field", message: "consumer_id",
		},
		{
			name: "consume with a sign", call: "GET /consumer/consume?topic=T&consumer_id=%2B0",
			status: 400, code: "invalid_field", message: "consumer_id",
		},
		{
			name: "consume with no digits", call: "GET /consumer/consume?topic=T&consumer_id=",
			status: 400, code: "invalid_field", message: "consumer_id",
		},
		{
			name: "consume with a bad body", call: "GET /consumer/consume?topic=T", body: `{`,
			status: 400, code: "invalid_json", message: "JSON",
		},
		{
			name: "consume with invalid UTF-8", call: "GET /consumer/consume?topic=%ff&consumer_id=0",
			status: 400, code: "invalid_field", message: "topic",
		},
		{
			name: "size of a huge id", call: "GET /size?topic=T&consumer_id=9223372036854775808",
			status: 400, code: "consumer_not_found", message: "9223372036854775808",
		},
		{name: "unknown path", call: "GET /nothing", status: 404, code: "path_not_found", message: "/nothing"},
		{
			name: "unknown path and large body", call: "POST /nothing", body: large,
			status: 413, code: "body_too_large", message: "limit",
		},
		{name: "case of a path", call: "GET /Topics", status: 404, code: "path_not_found", message: "/Topics"},
		{name: "unknown method", call: "DELETE /topics", status: 405, code: "method_not_allowed", message: "GET"},
		{
			name: "consume by POST", call: "POST /consumer/consume", body: `{"topic":"T","consumer_id":0}`,
			status: 405, code: "method_not_allowed", message: "GET",
		},
		{
			name: "produce by GET", call: "GET /producer/produce",
			status: 405, code: "method_not_allowed", message: "POST",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			method, path, _ := strings.Cut(test.call, " ")

			a := classic{t: t, url: c.url}.do(method, path, test.body)

			assert.Equal(t, test.status, a.HTTP, a.Message)
			assert.Equal(t, test.code, a.Code, a.Message)
			assert.Contains(t, a.Message, test.message)
		})
	}
}
