package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// api speaks to one broker under /v1. It holds every answer against the
// description, and every request that was not refused.
type api struct {
	t      testing.TB
	url    string
	client *http.Client
}

// in is a that reports to another test.
func (a api) in(t testing.TB) api { return api{t, a.url, a.client} }

// classic is an old client of the same broker.
func (a api) classic() server { return server{a.t, a.url} }

// response is an answer that was read to its end.
type response struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// path makes a path under /v1/topics of its parts.
func path(parts ...any) string {
	p := "/v1/topics"
	for _, part := range parts {
		p += "/" + url.PathEscape(fmt.Sprint(part))
	}
	return p
}

// request makes a request. Headers are names and values in turn.
func (a api) request(ctx context.Context, method, path, body string, headers ...string) *http.Request {
	a.t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(body))
	require.NoError(a.t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	return request
}

// do makes a call and checks that the description has it, and its answer.
func (a api) do(method, path, body string, headers ...string) response {
	a.t.Helper()
	return a.send(a.request(context.Background(), method, path, body, headers...), body)
}

func (a api) send(request *http.Request, body string) response {
	a.t.Helper()
	answer, err := a.client.Do(request)
	require.NoError(a.t, err)
	defer answer.Body.Close()
	out := readAll(a.t, answer)
	described(a.t, request, body, out)
	return out
}

func readAll(t testing.TB, answer *http.Response) response {
	t.Helper()
	read, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return response{t, answer.StatusCode, answer.Header, string(read)}
}

// get, put, post, patch and del call with a body of JSON if it is not "".
func (a api) get(path string) response { a.t.Helper(); return a.json(http.MethodGet, path, "") }

func (a api) del(path string) response { a.t.Helper(); return a.json(http.MethodDelete, path, "") }

func (a api) put(path, body string) response { a.t.Helper(); return a.json(http.MethodPut, path, body) }

func (a api) post(path, body string) response {
	a.t.Helper()
	return a.json(http.MethodPost, path, body)
}

func (a api) patch(path, body string) response {
	a.t.Helper()
	return a.json(http.MethodPatch, path, body)
}

func (a api) json(method, path, body string) response {
	a.t.Helper()
	if body == "" {
		return a.do(method, path, "")
	}
	return a.do(method, path, body, "Content-Type", "application/json")
}

// is checks the status.
func (r response) is(status int) response {
	r.t.Helper()
	require.Equal(r.t, status, r.status, r.body)
	return r
}

// into decodes the body.
func (r response) into(value any) {
	r.t.Helper()
	require.NoError(r.t, json.Unmarshal([]byte(r.body), value), r.body)
}

// problem is a failure.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	Tokens                    []string
	Messages                  []receipt
	LastSequence              *uint64 `json:"last_sequence"`
}

// refuses checks that the answer is a failure, and returns it.
func (r response) refuses(status int, code string) (p problem) {
	r.t.Helper()
	r.is(status)
	require.Equal(r.t, "application/problem+json", r.header.Get("Content-Type"))
	r.into(&p)
	require.Equal(r.t, code, p.Code, p.Detail)
	require.Equal(r.t, status, p.Status)
	require.Equal(r.t, "urn:dq:problem:"+code, p.Type)
	require.NotEmpty(r.t, p.Detail)
	return p
}

type topic struct {
	Name          string
	Subject       string
	Created       time.Time
	Settings      map[string]any
	Messages      uint64
	Bytes         uint64
	FirstSequence uint64    `json:"first_sequence"`
	LastSequence  uint64    `json:"last_sequence"`
	FirstTime     time.Time `json:"first_time"`
	LastTime      time.Time `json:"last_time"`
	Consumers     int
	Producers     int
}

type receipt struct {
	Sequence     uint64
	Time         time.Time
	Duplicate    bool
	DeliverAt    time.Time `json:"deliver_at"`
	Code, Detail string
}

type message struct {
	Sequence    uint64
	Time        time.Time
	Key         string
	ContentType string `json:"content_type"`
	Headers     map[string]string
	Data        *string
	DataBase64  []byte `json:"data_base64"`
	Token       string
	Deliveries  int
}

func (m message) text() string {
	if m.Data == nil {
		return string(m.DataBase64)
	}
	return *m.Data
}

type consumer struct {
	ID              int64
	Name            string
	Topic           string
	Key             string
	Mode            string
	Lease           string
	MaxInFlight     int    `json:"max_in_flight"`
	MaxDeliveries   int    `json:"max_deliveries"`
	DeadLetterTopic string `json:"dead_letter_topic"`
	Position        uint64
	Lag             uint64
	InFlight        uint64 `json:"in_flight"`
	Size            uint64
	PausedUntil     time.Time `json:"paused_until"`
}

// topic makes a topic with settings in JSON, if they are not "".
func (a api) topic(name, settings string) (out topic) {
	a.t.Helper()
	a.put(path(name), settings).is(http.StatusCreated).into(&out)
	return out
}

// produce appends a message or a batch in JSON.
func (a api) produce(topic, body string) []receipt {
	a.t.Helper()
	r := a.post(path(topic, "messages"), body)
	require.Less(a.t, r.status, 300, r.body)
	return r.receipts()
}

func (r response) receipts() []receipt {
	r.t.Helper()
	var out struct{ Messages []receipt }
	r.into(&out)
	return out.Messages
}

// fill appends n messages with the texts from, from+1 and so on.
func (a api) fill(topic string, from, n int) {
	a.t.Helper()
	a.produce(topic, batchOf(from, n, ""))
}

// batchOf is n messages as fill appends them, each with further fields.
func batchOf(from, n int, fields string) string {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `,{"data":"%d"%s}`, from+i, fields)
	}
	b.WriteByte(']')
	b.Bytes()[0] = '['
	return b.String()
}

// consumer registers a consumer.
func (a api) consumer(topic, spec string) (out consumer) {
	a.t.Helper()
	a.post(path(topic, "consumers"), spec).is(http.StatusCreated).into(&out)
	return out
}

func (a api) describe(topic string, label any) (out consumer) {
	a.t.Helper()
	a.get(path(topic, "consumers", label)).is(http.StatusOK).into(&out)
	return out
}

// fetch gets messages. Query is "limit=10&wait=1s" or the like.
func (a api) fetch(topic string, label any, query string) []message {
	a.t.Helper()
	return a.post(path(topic, "consumers", label, "fetch")+"?"+query, "").is(http.StatusOK).messages()
}

func (r response) messages() []message {
	r.t.Helper()
	var out struct{ Messages []message }
	r.into(&out)
	return out.Messages
}

// drain gets all that a consumer has, as texts.
func (a api) drain(topic string, label any) (texts []string) {
	a.t.Helper()
	return textsOf(a.fetch(topic, label, "limit=10000"))
}

func textsOf(messages []message) []string {
	texts := make([]string, len(messages))
	for i, m := range messages {
		texts[i] = m.text()
	}
	return texts
}

// same is assert.Equal for long lists: it tells where they part.
func same(t testing.TB, want, got []string, message ...any) {
	t.Helper()
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			assert.Fail(t, fmt.Sprintf("of %d and %d texts number %d differs: want %q, got %q", len(want), len(got), i, want[i], got[i]), message...)
			return
		}
	}
	assert.Equal(t, len(want), len(got), message...)
}

func tokensOf(messages []message) []string {
	tokens := make([]string, len(messages))
	for i, m := range messages {
		tokens[i] = m.Token
	}
	return tokens
}

// settle acknowledges, gives back or extends. More are further fields.
func (a api) settle(topic string, label any, op string, tokens []string, more string) response {
	a.t.Helper()
	list, err := json.Marshal(tokens)
	require.NoError(a.t, err)
	return a.post(path(topic, "consumers", label, op), fmt.Sprintf(`{"tokens":%s%s}`, list, more))
}

// browse reads a topic.
func (a api) browse(topic string) []message {
	a.t.Helper()
	return a.get(path(topic, "messages") + "?limit=10000").is(http.StatusOK).messages()
}

// numbers are the texts that fill appends.
func numbers(from, n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprint(from + i)
	}
	return texts
}

func jsonOf(t testing.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}

// splitLines are the lines of text, without their ends.
func splitLines(text string) iter.Seq[string] {
	return strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n")
}

// everyByte is all bytes there are, which is no UTF-8.
var everyByte = func() string {
	var b []byte
	for i := range 512 {
		b = append(b, byte(i))
	}
	return string(b)
}()

// within is the time that long polls of tests may take, if all is well.
const within = "wait=30s"
