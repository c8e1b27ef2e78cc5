package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

// within is the wait of long polls that end before it if all is well.
const within = "wait=30s"

// object is a JSON object to send.
type object map[string]any

// api calls one broker under /v1. It checks every answer against the OpenAPI
// description, and so it does with every request that was not refused.
type api struct {
	t      testing.TB
	url    string
	client *http.Client
}

// startAPI starts a broker and returns a client of it.
func startAPI(t testing.TB, cfg broker.Config) api {
	t.Helper()
	return newAPI(t, brokertest.Start(t, cfg).URL())
}

// newAPI returns a client of the broker at url. Its idle connections are closed before a broker that was started
// earlier is stopped.
func newAPI(t testing.TB, url string) api {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	t.Cleanup(client.CloseIdleConnections)
	return api{t: t, url: url, client: client}
}

// in returns the same client, which reports failures to another test.
func (a api) in(t testing.TB) api { return api{t: t, url: a.url, client: a.client} }

// classic returns a client of the classic calls of the same broker.
func (a api) classic() classic { return classic{t: a.t, url: a.url} }

// path returns the path below /v1/topics that has parts as its elements, escaped.
func path(parts ...any) string {
	p := "/v1/topics"
	for _, part := range parts {
		p += "/" + url.PathEscape(fmt.Sprint(part))
	}
	return p
}

// withQuery adds parameters, such as "limit=10", to a path.
func withQuery(path string, parameters []string) string {
	if len(parameters) == 0 {
		return path
	}
	return path + "?" + strings.Join(parameters, "&")
}

// request returns a request with a body of text. Headers are names and values in turn.
func (a api) request(ctx context.Context, method, path, body string, headers ...string) *http.Request {
	a.t.Helper()

	request, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(body))
	require.NoError(a.t, err)
	for pair := range slices.Chunk(headers, 2) {
		request.Header.Add(pair[0], pair[1])
	}

	return request
}

// do makes a call with a body of text. It fails the test if the description does not allow the call or its answer.
// Headers are names and values in turn.
func (a api) do(method, path, body string, headers ...string) response {
	a.t.Helper()
	return a.send(a.request(context.Background(), method, path, body, headers...), body)
}

// send sends a request and checks it, and its answer, against the description. Body is the request's.
func (a api) send(request *http.Request, body string) response {
	a.t.Helper()

	answer, err := a.client.Do(request)
	require.NoError(a.t, err)
	defer answer.Body.Close()
	out := readAll(a.t, answer)

	described(a.t, request, body, out)
	return out
}

// get, del, put, post and patch make calls. They send body as JSON, and no body if it is nil.
func (a api) get(path string) response { a.t.Helper(); return a.json(http.MethodGet, path, nil) }

func (a api) del(path string) response { a.t.Helper(); return a.json(http.MethodDelete, path, nil) }

func (a api) put(path string, body any) response {
	a.t.Helper()
	return a.json(http.MethodPut, path, body)
}

func (a api) post(path string, body any) response {
	a.t.Helper()
	return a.json(http.MethodPost, path, body)
}

func (a api) patch(path string, body any) response {
	a.t.Helper()
	return a.json(http.MethodPatch, path, body)
}

func (a api) json(method, path string, body any) response {
	a.t.Helper()
	if body == nil {
		return a.do(method, path, "")
	}
	return a.do(method, path, jsonOf(a.t, body), "Content-Type", "application/json")
}

// response is an answer that was read to its end.
type response struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// readAll reads the body of an answer. The caller closes it.
func readAll(t testing.TB, answer *http.Response) response {
	t.Helper()
	read, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return response{t: t, status: answer.StatusCode, header: answer.Header, body: string(read)}
}

// is fails the test unless the answer has the status.
func (r response) is(status int) response {
	r.t.Helper()
	require.Equal(r.t, status, r.status, r.body)
	return r
}

// into decodes the body into value.
func (r response) into(value any) {
	r.t.Helper()
	require.NoError(r.t, json.Unmarshal([]byte(r.body), value), r.body)
}

// receipts decodes the answer to a produce.
func (r response) receipts() []receipt {
	r.t.Helper()
	var out struct{ Messages []receipt }
	r.into(&out)
	return out.Messages
}

// messages decodes the answer to a fetch or a browse.
func (r response) messages() []message {
	r.t.Helper()
	var out struct{ Messages []message }
	r.into(&out)
	return out.Messages
}

// refuses fails the test unless the answer is a failure of that status and code. It returns the failure.
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

// problem is the body of a failure.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	Tokens                    []string
	Messages                  []receipt
	LastSequence              *uint64 `json:"last_sequence"`
}

// topic is a topic as the broker describes it.
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

// receipt tells what became of one message that was sent.
type receipt struct {
	Sequence     uint64
	Time         time.Time
	Duplicate    bool
	DeliverAt    time.Time `json:"deliver_at"`
	Code, Detail string
}

// message is a message as a fetch or a browse returns it.
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

// text returns what the message carries.
func (m message) text() string {
	if m.Data == nil {
		return string(m.DataBase64)
	}
	return *m.Data
}

// createTopic creates a topic, with settings if there are any.
func (a api) createTopic(name string, settings ...object) (out topic) {
	a.t.Helper()
	a.put(path(name), firstOf(settings)).is(http.StatusCreated).into(&out)
	return out
}

// topic describes a topic.
func (a api) topic(name string) (out topic) {
	a.t.Helper()
	a.get(path(name)).is(http.StatusOK).into(&out)
	return out
}

// produce appends one message (an object) or several (a list of objects).
func (a api) produce(topic string, messages any) []receipt {
	a.t.Helper()
	r := a.post(path(topic, "messages"), messages)
	require.Less(a.t, r.status, 300, r.body)
	return r.receipts()
}

// fill appends n messages with the texts from, from+1 and so on.
func (a api) fill(topic string, from, n int) {
	a.t.Helper()
	a.produce(topic, batch(from, n, nil))
}

// browse reads a topic. Without a query it reads all of it.
func (a api) browse(topic string, query ...string) []message {
	a.t.Helper()
	if len(query) == 0 {
		query = []string{"limit=10000"}
	}
	return a.get(withQuery(path(topic, "messages"), query)).is(http.StatusOK).messages()
}

// purge removes the messages of a topic, all of them unless query is "up_to=" and a sequence. It returns how many
// there were.
func (a api) purge(topic string, query ...string) uint64 {
	a.t.Helper()
	var out struct{ Purged uint64 }
	a.del(withQuery(path(topic, "messages"), query)).is(http.StatusOK).into(&out)
	return out.Purged
}

// batch returns n messages with the texts from, from+1 and so on, each with further fields.
func batch(from, n int, fields object) []object {
	messages := make([]object, n)
	for i := range messages {
		messages[i] = object{"data": fmt.Sprint(from + i)}
		for name, value := range fields {
			messages[i][name] = value
		}
	}
	return messages
}

// numbers returns the texts that fill and batch give to n messages.
func numbers(from, n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprint(from + i)
	}
	return texts
}

// textsOf returns what messages carry.
func textsOf(messages []message) []string {
	texts := make([]string, len(messages))
	for i, m := range messages {
		texts[i] = m.text()
	}
	return texts
}

// tokensOf returns the tokens of leased messages.
func tokensOf(messages []message) []string {
	tokens := make([]string, len(messages))
	for i, m := range messages {
		tokens[i] = m.Token
	}
	return tokens
}

// same is assert.Equal for long lists: it reports the first difference, not the lists.
func same(t testing.TB, want, got []string, message ...any) {
	t.Helper()

	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			assert.Fail(t, fmt.Sprintf("of %d and %d texts number %d differs: want %q, got %q",
				len(want), len(got), i, want[i], got[i]), message...)
			return
		}
	}

	assert.Equal(t, len(want), len(got), message...)
}

// jsonOf returns value in JSON.
func jsonOf(t testing.TB, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}

// linesOf returns messages in JSON, one after the other with separator between them.
func linesOf(t testing.TB, messages []object, separator string) string {
	t.Helper()
	lines := make([]string, len(messages))
	for i, m := range messages {
		lines[i] = jsonOf(t, m)
	}
	return strings.Join(lines, separator)
}

// firstOf returns the first of optional objects, and nil if there is none.
func firstOf(objects []object) any {
	if len(objects) == 0 {
		return nil
	}
	return objects[0]
}

// everyByte holds each byte twice. It is not valid UTF-8.
var everyByte = func() string {
	var b []byte
	for i := range 512 {
		b = append(b, byte(i))
	}
	return string(b)
}()
