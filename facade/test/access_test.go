package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
	"dq/facade/access"
)

// everyScope grants everything about every topic.
const everyScope = "*=admin,produce,consume"

// guarded is a broker that asks for tokens.
type guarded struct {
	t      *testing.T
	url    string
	tokens map[string]string // by holder
	file   string            // of the tokens
	audit  string            // the audit log
}

// startGuarded starts a broker that asks for tokens. Grants are by holder.
func startGuarded(t *testing.T, grants map[string]string) *guarded {
	t.Helper()
	g := prepareGuarded(t, grants)
	g.start()
	return g
}

// prepareGuarded prepares a broker that asks for tokens. More can be added before it is started.
func prepareGuarded(t *testing.T, grants map[string]string) *guarded {
	t.Helper()
	dir := t.TempDir()
	g := &guarded{
		t:      t,
		tokens: make(map[string]string),
		file:   filepath.Join(dir, "tokens.json"),
		audit:  filepath.Join(dir, "audit.log"),
	}
	for name, grant := range grants {
		g.grant(name, grant, time.Time{})
	}
	return g
}

// start starts the broker.
func (g *guarded) start() { g.startWith(brokertest.Config("")) }

// startWith starts the broker with that configuration, which asks for tokens.
func (g *guarded) startWith(cfg broker.Config) {
	g.t.Helper()
	cfg.Tokens, cfg.AuditLog = g.file, g.audit
	g.url = brokertest.Start(g.t, cfg).URL()
}

// grant adds a token to the file. One with the zero time does not expire.
func (g *guarded) grant(name, grant string, expires time.Time) {
	g.t.Helper()
	g.add(grant, access.Entry{Name: name, Expires: expires})
}

// add adds a token with a grant to the file.
func (g *guarded) add(grant string, entry access.Entry) {
	g.t.Helper()
	token, hash := access.NewToken()
	parsed, err := access.ParseGrant(grant)
	require.NoError(g.t, err)

	entry.SHA256, entry.Grants = hash, []access.Grant{parsed}
	require.NoError(g.t, access.Append(g.file, entry))
	g.tokens[entry.Name] = token
}

// startLimited starts a broker that asks for tokens: that of root has no limits, those of alice and bob may send and
// get 65,536 bytes and then one a second.
func startLimited(t *testing.T) *guarded {
	t.Helper()
	g := prepareGuarded(t, map[string]string{"root": everyScope})
	perSecond := 1.0
	for _, name := range []string{"alice", "bob"} {
		g.add(everyScope, access.Entry{Name: name, Limits: access.Limits{BytesPerSecond: &perSecond}})
	}
	g.start()
	g.put("root", path("T"), nil).is(http.StatusCreated)
	return g
}

// revoke takes a token out of the file.
func (g *guarded) revoke(name string) {
	g.t.Helper()
	data, err := os.ReadFile(g.file)
	require.NoError(g.t, err)
	file, err := access.Parse(g.file, data)
	require.NoError(g.t, err)

	file.Tokens = slices.DeleteFunc(file.Tokens, func(e access.Entry) bool { return e.Name == name })

	data, err = file.Encode()
	require.NoError(g.t, err)
	require.NoError(g.t, os.WriteFile(g.file+".new", data, 0o600))
	require.NoError(g.t, os.Rename(g.file+".new", g.file))
}

// call is a call about a topic.
type call struct {
	method, path string
	body         any // JSON, or a string to send as it is, or nil
}

// request returns a request with the token of holder, or without a token if holder is "".
func (g *guarded) request(holder string, c call) *http.Request {
	g.t.Helper()
	text, isText := c.body.(string)
	if c.body != nil && !isText {
		text = jsonOf(g.t, c.body)
	}

	request, err := http.NewRequestWithContext(g.t.Context(), c.method, g.url+c.path, strings.NewReader(text))
	require.NoError(g.t, err)
	if c.body != nil && !isText {
		request.Header.Set("Content-Type", "application/json")
	}
	if holder != "" {
		request.Header.Set("Authorization", "Bearer "+g.tokens[holder])
	}
	return request
}

// do makes a call with the token of holder, or without a token if holder is "".
func (g *guarded) do(holder string, c call) response {
	g.t.Helper()
	answer, err := http.DefaultClient.Do(g.request(holder, c))
	require.NoError(g.t, err)
	defer answer.Body.Close()
	return readAll(g.t, answer)
}

// get, put, post and del make calls as do does.
func (g *guarded) get(holder, path string) response {
	g.t.Helper()
	return g.do(holder, call{method: http.MethodGet, path: path})
}

func (g *guarded) put(holder, path string, body any) response {
	g.t.Helper()
	return g.do(holder, call{method: http.MethodPut, path: path, body: body})
}

func (g *guarded) post(holder, path string, body any) response {
	g.t.Helper()
	return g.do(holder, call{method: http.MethodPost, path: path, body: body})
}

func (g *guarded) del(holder, path string) response {
	g.t.Helper()
	return g.do(holder, call{method: http.MethodDelete, path: path})
}

// callsOf returns all calls about a topic.
func callsOf(topic string) []call {
	v1 := path(topic)
	consumers, zero := v1+"/consumers", v1+"/consumers/0"
	tokens := object{"tokens": []string{"a"}}
	message := object{"topic": topic, "producer_id": 0, "message": "x"}

	return []call{
		{method: "GET", path: v1},
		{method: "PUT", path: v1},
		{method: "PATCH", path: v1, body: object{"max_messages": 5}},
		{method: "DELETE", path: v1},

		{method: "POST", path: v1 + "/messages", body: "x"},
		{method: "GET", path: v1 + "/messages"},
		{method: "DELETE", path: v1 + "/messages"},
		{method: "GET", path: v1 + "/messages/1"},

		{method: "POST", path: consumers, body: object{}},
		{method: "GET", path: consumers},
		{method: "GET", path: zero},
		{method: "DELETE", path: zero},
		{method: "POST", path: zero + "/fetch"},
		{method: "GET", path: zero + "/stream"},
		{method: "GET", path: zero + "/socket"},
		{method: "POST", path: zero + "/ack", body: tokens},
		{method: "POST", path: zero + "/nack", body: tokens},
		{method: "POST", path: zero + "/extend", body: tokens},
		{method: "POST", path: zero + "/seek", body: object{"to": "first"}},
		{method: "POST", path: zero + "/pause", body: object{"for": "1s"}},
		{method: "POST", path: zero + "/resume"},

		{method: "POST", path: "/topics", body: object{"topic_name": topic}},
		{method: "POST", path: "/consumer/register", body: object{"topic": topic}},
		{method: "POST", path: "/producer/register", body: object{"topic": topic}},
		{method: "POST", path: "/producer/produce", body: message},
		{method: "GET", path: "/consumer/consume?consumer_id=0&topic=" + topic},
		{method: "GET", path: "/size?consumer_id=0&topic=" + topic},
	}
}

func TestAccess_HiddenTopicAnswersAsIfItDidNotExist(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": everyScope, "alice": "mine-*=admin,produce,consume"})
	g.put("root", path("here"), nil)
	g.post("root", "/consumer/register", object{"topic": "here"})
	g.post("root", "/producer/register", object{"topic": "here"})

	here, none := callsOf("here"), callsOf("none")
	for i := range here {
		got, want := g.do("alice", here[i]), g.do("alice", none[i])

		assert.Equal(t, want.status, got.status, here[i])
		assert.Equal(t, strings.ReplaceAll(want.body, "none", "here"), got.body, here[i])
		assert.GreaterOrEqual(t, got.status, 400, here[i])
	}

	assert.NotContains(t, g.get("alice", "/v1/topics").body, "here")
	list := g.get("alice", "/topics")
	assert.Equal(t, 400, list.status)
	assert.Contains(t, list.body, "No Topic found")
	assert.Equal(t, 200, g.get("root", path("here")).status, "nothing was changed")
}

func TestAccess_IDOfAHiddenTopicAnswersAsIfNeverGivenOut(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": everyScope, "alice": "mine-*=admin,produce,consume"})
	g.put("root", path("mine-1"), nil)
	const kept, deleted, never = 0, 1, 9
	for range 2 {
		g.post("root", "/producer/register", object{"topic": "hidden"})
		g.post("root", "/consumer/register", object{"topic": "hidden"})
	}
	g.del("root", path("hidden", "consumers", deleted))

	for _, of := range []func(id int) call{
		func(id int) call { return call{method: "GET", path: fmt.Sprint("/size?topic=mine-1&consumer_id=", id)} },
		func(id int) call {
			return call{method: "GET", path: fmt.Sprint("/consumer/consume?topic=mine-1&consumer_id=", id)}
		},
		func(id int) call {
			body := object{"topic": "mine-1", "producer_id": id, "message": "x"}
			return call{method: "POST", path: "/producer/produce", body: body}
		},
		func(id int) call { return call{method: "GET", path: path("mine-1", "consumers", id)} },
		func(id int) call { return call{method: "DELETE", path: path("mine-1", "consumers", id)} },
		func(id int) call { return call{method: "POST", path: path("mine-1", "consumers", id, "fetch")} },
		func(id int) call { return call{method: "GET", path: path("mine-1", "consumers", id, "stream")} },
	} {
		answer := func(id int) string {
			r := g.do("alice", of(id))
			return fmt.Sprint(r.status, strings.ReplaceAll(r.body, fmt.Sprint(":", id), ":ID"))
		}

		assert.Equal(t, answer(never), answer(kept), of(kept))
		assert.Equal(t, answer(never), answer(deleted), of(deleted))
	}
	size := g.get("root", "/size?topic=mine-1&consumer_id=1")
	assert.Contains(t, size.body, "does not exist any more", "holders who see the topic get the whole reason")
}

func TestAccess_DeadLetterTopicIsNamedOnlyToThoseWhoSeeIt(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": everyScope, "reader": "T=consume"})
	g.put("root", path("T"), nil)
	g.put("root", path("D"), object{"max_messages": 1, "when_full": "refuse_new"})
	g.post("root", path("D", "messages"), "x")
	g.post("root", path("T", "messages"), "x")
	g.post("root", path("T", "consumers"), object{
		"name": "c", "mode": "lease", "start": "first", "lease": "100ms", "max_deliveries": 1, "dead_letter_topic": "D",
	})
	fetch := path("T", "consumers", "c", "fetch")
	require.Equal(t, 200, g.post("root", fetch, nil).status)

	hidden, seen := g.post("reader", fetch+"?wait=1s", nil), g.post("root", fetch, nil)

	assert.Equal(t, 503, hidden.status)
	assert.Contains(t, hidden.body, `"dead_letter_refused"`)
	assert.NotContains(t, hidden.body, "Topic:D")
	assert.Equal(t, 429, seen.status)
	assert.Contains(t, seen.body, "Topic:D is full")
}

func TestAccess_DeadLetterTopicIsCreatedOnlyByAdmins(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": everyScope, "worker": "T*=consume,produce"})
	g.put("root", path("T"), nil)
	spec := object{"name": "c", "mode": "lease", "max_deliveries": 1, "dead_letter_topic": "T-dead"}

	for _, test := range []struct {
		holder, topic string
		status        int
	}{
		{holder: "worker", topic: "T", status: 404},
		{holder: "root", topic: "T-none", status: 404},
		{holder: "worker", topic: "T", status: 404},
		{holder: "root", topic: "T", status: 201},
		{holder: "worker", topic: "T", status: 200},
	} {
		r := g.post(test.holder, path(test.topic, "consumers"), spec)

		assert.Equal(t, test.status, r.status, "%v %s", test, r.body)
	}
}

func TestAccess_WorkerDoesNotBringBackADeletedDeadLetterTopic(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": everyScope, "worker": "T*=consume,produce"})
	g.put("root", path("T"), nil)
	g.post("root", path("T", "consumers"), object{
		"name": "c", "mode": "lease", "lease": "100ms", "max_deliveries": 1, "dead_letter_topic": "T-dead",
	})
	g.del("root", path("T-dead"))
	consumer := path("T", "consumers", "c")
	g.post("worker", path("T", "messages"), "poison")
	require.Contains(t, g.post("worker", consumer+"/fetch", nil).body, "poison")

	refused := g.post("worker", consumer+"/fetch?wait=1s", nil)
	g.post("worker", path("T", "messages"), "next")
	next := g.post("worker", consumer+"/fetch", nil)

	assert.Equal(t, 503, refused.status)
	assert.Contains(t, refused.body, `"dead_letter_refused"`)
	assert.Contains(t, refused.body, "Topic:T-dead does not exist: create it")
	assert.Contains(t, next.body, "next", "the consumer goes on")
	assert.Equal(t, 404, g.get("root", path("T-dead")).status)
	assert.Contains(t, g.get("worker", consumer).body, `"dead_letter_topic_missing":true`)

	g.put("root", path("T-dead"), nil)
	g.post("worker", consumer+"/fetch", nil)

	assert.Contains(t, g.get("root", path("T-dead", "messages")).body, "poison", "nothing is lost")
	assert.NotContains(t, g.get("worker", consumer).body, "missing")
}

func TestAccess_RevokedTokenEndsOpenCalls(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": everyScope, "alice": "T=consume"})
	g.put("root", path("T"), nil)
	for _, name := range []string{"c0", "c1"} {
		g.post("root", path("T", "consumers"), object{"name": name})
	}
	browse := g.request("alice", call{method: "GET", path: path("T", "messages") + "?from=new&wait=50s"})
	fetch := g.request("alice", call{method: "POST", path: path("T", "consumers", "c0", "fetch") + "?wait=50s"})
	consumerStream := g.request("alice", call{method: "GET", path: path("T", "consumers", "c1", "stream")})
	topicStream := g.request("alice", call{method: "GET", path: path("T", "messages")})
	topicStream.Header.Set("Accept", "text/event-stream")

	requests := []*http.Request{browse, fetch, consumerStream, topicStream}
	bodies := make(chan string, len(requests))
	for _, request := range requests {
		go func() {
			answer, err := http.DefaultClient.Do(request)
			if assert.NoError(t, err) {
				body, err := io.ReadAll(answer.Body)
				assert.NoError(t, err)
				_ = answer.Body.Close()
				bodies <- fmt.Sprint(request.Method, " ", request.URL.Path, ": ", string(body))
			}
		}()
	}
	before := g.get("root", path("T", "consumers", "c0")).body
	g.revoke("alice")

	for range requests {
		assert.Contains(t, <-bodies, "unauthenticated")
	}
	// A message that was taken for a reader who may not have it would be lost.
	assert.Equal(t, before, g.get("root", path("T", "consumers", "c0")).body)
}

func TestAccess_ExpiredTokenEndsALongPollThatTakesNothing(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": everyScope})
	g.put("root", path("T"), nil)
	g.post("root", path("T", "consumers"), object{"name": "c"})
	g.grant("bob", "T=consume", time.Now().Add(3*time.Second))
	require.Eventually(t, func() bool { return g.get("bob", path("T")).status == 200 },
		3*time.Second, 10*time.Millisecond, "the broker reads the file")
	fetch := path("T", "consumers", "c", "fetch")

	poll := g.post("bob", fetch+"?wait=50s", nil)

	assert.Equal(t, 401, poll.status, poll.body)
	g.post("root", path("T", "messages"), "x")
	assert.Contains(t, g.post("root", fetch, nil).body, `"sequence":1`)
}

func TestAccess_RevokedTokenEndsASocket(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": everyScope, "alice": "T=consume"})
	g.put("root", path("T"), nil)
	g.post("root", path("T", "consumers"), object{"name": "c", "mode": "lease"})
	g.post("root", path("T", "messages"), "x")
	url := "ws" + strings.TrimPrefix(g.url, "http") + path("T", "consumers", "c", "socket")
	ws, answer, err := websocket.DefaultDialer.Dial(url, http.Header{"Authorization": {"Bearer " + g.tokens["alice"]}})
	require.NoError(t, err)
	defer ws.Close()
	answer.Body.Close()
	require.NoError(t, ws.WriteJSON(object{"type": "pull", "count": 1}))
	_, text, err := ws.ReadMessage()
	require.NoError(t, err)
	require.Contains(t, string(text), `"message"`)

	g.revoke("alice")

	_, text, err = ws.ReadMessage()
	require.NoError(t, err)
	assert.Contains(t, string(text), `"unauthenticated"`)
	_, _, err = ws.ReadMessage()
	var closed *websocket.CloseError
	assert.ErrorAs(t, err, &closed)
}

func TestAccess_BytesOfChunksAndFramesCount(t *testing.T) {
	t.Parallel()
	g := startLimited(t)
	g.post("root", path("T", "consumers"), object{"name": "c", "mode": "lease"}).is(http.StatusCreated)
	chunks := g.request("alice", call{method: http.MethodPost, path: path("T", "messages")})
	chunks.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", 70_000)))
	chunks.ContentLength = -1
	url := "ws" + strings.TrimPrefix(g.url, "http") + path("T", "consumers", "c", "socket")
	ws, answer, err := websocket.DefaultDialer.Dial(url, http.Header{"Authorization": {"Bearer " + g.tokens["bob"]}})
	require.NoError(t, err)
	defer ws.Close()
	answer.Body.Close()

	stored, err := http.DefaultClient.Do(chunks)
	require.NoError(t, err)
	stored.Body.Close()
	require.NoError(t, ws.WriteMessage(websocket.TextMessage, []byte(strings.Repeat(" ", 70_000))))
	_, _, err = ws.ReadMessage() // what it says of the spaces
	require.NoError(t, err)

	assert.Equal(t, http.StatusCreated, stored.StatusCode, "no size is impossible")
	g.get("alice", path("T")).refuses(http.StatusTooManyRequests, "rate_limited")
	g.get("bob", path("T")).refuses(http.StatusTooManyRequests, "rate_limited")
}

func TestAccess_BytesOfRefusalsCount(t *testing.T) {
	t.Parallel()
	g := startLimited(t)
	unknown := "/v1/" + strings.Repeat("x", 10_000) // the refusal names it

	for range 7 {
		g.get("alice", unknown).refuses(http.StatusNotFound, "path_not_found")
	}

	g.get("alice", unknown).refuses(http.StatusTooManyRequests, "rate_limited")
}

func TestAccess_ParallelReadsGetNoMoreTogether(t *testing.T) {
	t.Parallel()
	g := startLimited(t)
	const messages, size, readers = 100, 10_000, 8
	data := strings.Repeat("x", size)
	g.post("root", path("T", "messages"), slices.Repeat([]object{{"data": data}}, messages)).is(http.StatusCreated)

	browse := call{method: http.MethodGet, path: path("T", "messages") + "?from=first"}
	var got atomic.Int64
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			answer, err := http.DefaultClient.Do(g.request("alice", browse))
			if assert.NoError(t, err) {
				n, _ := io.Copy(io.Discard, answer.Body)
				got.Add(n)
				answer.Body.Close()
			}
		})
	}
	all.Wait()

	most := 65_536 + (readers+1)*(size+1000) // each gets one message in any case
	assert.Less(t, got.Load(), int64(most))
	assert.Greater(t, got.Load(), int64(65_000))
}

func TestAccess_CallsWithoutATokenAreRefused(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": "*=admin"})
	g.tokens["stranger"] = "dq_" + strings.Repeat("x", 43)
	calls := callsOf("T")
	for _, path := range []string{"/v1/topics", "/topics", "/nothing"} {
		calls = append(calls, call{method: "GET", path: path})
	}

	for _, holder := range []string{"", "stranger"} {
		for _, c := range calls {
			r := g.do(holder, c)

			assert.Equal(t, http.StatusUnauthorized, r.status, c)
			assert.Contains(t, r.body, "unauthenticated")
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/openapi.yaml", "/docs/"} {
		assert.Equal(t, http.StatusOK, g.get("", path).status, path)
	}
}

func TestAccess_RefusedLoginsAreAuditedOneLineASecond(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": everyScope})
	g.tokens["stranger"] = "dq_" + strings.Repeat("x", 43)

	for range 50 {
		require.Equal(t, 401, g.get("stranger", path("T")).status)
	}

	// All are counted, in few lines.
	var log string
	counted := func() (sum int) {
		raw, err := os.ReadFile(g.audit)
		require.NoError(t, err)
		log = string(raw)
		for line := range strings.Lines(log) {
			var entry struct{ Count int }
			require.NoError(t, json.Unmarshal([]byte(line), &entry))
			sum += entry.Count
		}
		return sum
	}
	require.Eventually(t, func() bool { return counted() == 50 }, time.Minute, 10*time.Millisecond)
	assert.Less(t, strings.Count(log, "\n"), 25)
	assert.Contains(t, log, `"operation":"GET /v1/topics/:topic","remote":"127.0.0.1","code":"unauthenticated","reason":"unknown","count":1}`)
	assert.NotContains(t, log, g.tokens["stranger"])
}

func TestAccess_ScopeAllowsOnlyItsOwnCalls(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{
		"root": everyScope, "writer": "T=produce", "reader": "T=consume", "admin": "T=admin",
	})
	require.Equal(t, 201, g.put("root", path("T"), nil).status)
	messages, consumers := path("T", "messages"), path("T", "consumers")
	toUnseenTopic := object{"mode": "lease", "max_deliveries": 1, "dead_letter_topic": "other"}
	calls := map[string]call{
		"produce":          {method: "POST", path: messages, body: "x"},
		"browse":           {method: "GET", path: messages},
		"describe":         {method: "GET", path: path("T")},
		"use unseen topic": {method: "POST", path: consumers, body: toUnseenTopic},
		"register":         {method: "POST", path: consumers, body: object{"name": "c"}},
		"fetch":            {method: "POST", path: consumers + "/c/fetch"},
		"seek":             {method: "POST", path: consumers + "/c/seek", body: object{"to": "first"}},
		"classic register": {method: "POST", path: "/producer/register", body: object{"topic": "T"}},
		"change settings":  {method: "PATCH", path: path("T"), body: object{"max_messages": 1}},
		"purge":            {method: "DELETE", path: messages},
		"delete":           {method: "DELETE", path: path("T")},
	}

	for _, test := range []struct {
		holder, call string
		status       int
	}{
		{holder: "writer", call: "produce", status: 201},
		{holder: "reader", call: "produce", status: 403},
		{holder: "admin", call: "produce", status: 403},
		{holder: "reader", call: "browse", status: 200},
		{holder: "writer", call: "browse", status: 403},
		{holder: "writer", call: "describe", status: 200},
		{holder: "reader", call: "use unseen topic", status: 403},
		{holder: "reader", call: "register", status: 201},
		{holder: "reader", call: "fetch", status: 200},
		{holder: "admin", call: "seek", status: 200},
		{holder: "admin", call: "fetch", status: 403},
		{holder: "writer", call: "classic register", status: 200},
		{holder: "reader", call: "change settings", status: 403},
		{holder: "writer", call: "purge", status: 403},
		{holder: "writer", call: "delete", status: 403},
		{holder: "admin", call: "delete", status: 204},
	} {
		r := g.do(test.holder, calls[test.call])

		assert.Equal(t, test.status, r.status, "%v: %s", test, r.body)
	}

	log, err := os.ReadFile(g.audit)
	require.NoError(t, err)
	assert.Contains(t, string(log), `"operation":"DELETE /v1/topics/:topic"`)
	for _, token := range g.tokens {
		assert.NotContains(t, string(log), token)
	}
}
