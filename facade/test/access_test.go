package test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/facade/access"
)

// guarded is a broker that asks for tokens, with those of some holders.
type guarded struct {
	t      *testing.T
	url    string
	tokens map[string]string
	file   string // of the tokens
	audit  string
}

// grant adds a token to the file.
func (g *guarded) grant(name, grant string, expires time.Time) {
	g.t.Helper()
	token, hash := access.NewToken()
	parsed, err := access.ParseGrant(grant)
	require.NoError(g.t, err)
	require.NoError(g.t, access.Append(g.file, access.Entry{Name: name, SHA256: hash, Grants: []access.Grant{parsed}, Expires: expires}))
	g.tokens[name] = token
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

func startGuarded(t *testing.T, grants map[string]string) *guarded {
	t.Helper()
	dir := t.TempDir()
	g := &guarded{t: t, tokens: make(map[string]string), file: filepath.Join(dir, "tokens.json"), audit: filepath.Join(dir, "audit.log")}
	for name, grant := range grants {
		g.grant(name, grant, time.Time{})
	}
	cfg := brokertest.Config("")
	cfg.Tokens, cfg.AuditLog = g.file, g.audit
	g.url = brokertest.Start(t, cfg).URL()
	return g
}

// do makes a call as who, and returns the status and the body.
func (g *guarded) do(who, method, path, body string) (int, string) {
	g.t.Helper()
	request, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, strings.NewReader(body))
	require.NoError(g.t, err)
	if strings.HasPrefix(body, "{") {
		request.Header.Set("Content-Type", "application/json")
	}
	if who != "" {
		request.Header.Set("Authorization", "Bearer "+g.tokens[who])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(g.t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(g.t, err)
	return response.StatusCode, string(answer)
}

// calls are all calls about a topic, and what they need.
func callsOf(topic string) [][3]string {
	v1 := "/v1/topics/" + topic
	named := fmt.Sprintf(`{"topic":%q}`, topic)
	return [][3]string{
		{"GET", v1, ""}, {"PATCH", v1, `{"max_messages":5}`}, {"DELETE", v1, ""},
		{"POST", v1 + "/messages", "x"}, {"GET", v1 + "/messages", ""}, {"DELETE", v1 + "/messages", ""}, {"GET", v1 + "/messages/1", ""},
		{"POST", v1 + "/consumers", `{}`}, {"GET", v1 + "/consumers", ""}, {"GET", v1 + "/consumers/0", ""}, {"DELETE", v1 + "/consumers/0", ""},
		{"POST", v1 + "/consumers/0/fetch", ""}, {"GET", v1 + "/consumers/0/stream", ""}, {"GET", v1 + "/consumers/0/socket", ""},
		{"POST", v1 + "/consumers/0/ack", `{"tokens":["a"]}`}, {"POST", v1 + "/consumers/0/nack", `{"tokens":["a"]}`},
		{"POST", v1 + "/consumers/0/extend", `{"tokens":["a"]}`}, {"POST", v1 + "/consumers/0/seek", `{"to":"first"}`},
		{"POST", v1 + "/consumers/0/pause", `{"for":"1s"}`}, {"POST", v1 + "/consumers/0/resume", ""},
		{"PUT", v1, ""}, {"POST", "/topics", fmt.Sprintf(`{"topic_name":%q}`, topic)},
		{"POST", "/consumer/register", named}, {"POST", "/producer/register", named},
		{"POST", "/producer/produce", fmt.Sprintf(`{"topic":%q,"producer_id":0,"message":"x"}`, topic)},
		{"GET", "/consumer/consume?consumer_id=0&topic=" + topic, ""}, {"GET", "/size?consumer_id=0&topic=" + topic, ""},
	}
}

func TestAccess_HiddenTopicAnswersAsIfItDidNotExist(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": "*=admin,produce,consume", "alice": "mine-*=admin,produce,consume"})
	for _, setup := range callsOf("here")[20:24] {
		g.do("root", setup[0], setup[1], setup[2])
	}
	there, none := callsOf("here"), callsOf("none")
	for i := range there {
		status, answer := g.do("alice", there[i][0], there[i][1], there[i][2])
		otherStatus, other := g.do("alice", none[i][0], none[i][1], none[i][2])
		assert.Equal(t, otherStatus, status, there[i])
		assert.Equal(t, strings.ReplaceAll(other, "none", "here"), answer, there[i])
		assert.GreaterOrEqual(t, status, 400, there[i])
	}
	_, list := g.do("alice", "GET", "/v1/topics", "")
	assert.NotContains(t, list, "here")
	status, list := g.do("alice", "GET", "/topics", "")
	assert.Equal(t, 400, status)
	assert.Contains(t, list, "No Topic found")
	status, _ = g.do("root", "GET", "/v1/topics/here", "")
	assert.Equal(t, 200, status, "nothing was changed")
}

func TestAccess_IDOfAHiddenTopicAnswersAsIfNeverGivenOut(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": "*=admin,produce,consume", "alice": "mine-*=admin,produce,consume"})
	g.do("root", "PUT", "/v1/topics/mine-1", "")
	const kept, deleted, never = "0", "1", "9"
	for range 2 {
		g.do("root", "POST", "/producer/register", `{"topic":"hidden"}`)
		g.do("root", "POST", "/consumer/register", `{"topic":"hidden"}`)
	}
	g.do("root", "DELETE", "/v1/topics/hidden/consumers/1", "")
	for _, call := range [][3]string{
		{"GET", "/size?topic=mine-1&consumer_id=ID", ""}, {"GET", "/consumer/consume?topic=mine-1&consumer_id=ID", ""},
		{"POST", "/producer/produce", `{"topic":"mine-1","producer_id":ID,"message":"x"}`},
		{"GET", "/v1/topics/mine-1/consumers/ID", ""}, {"DELETE", "/v1/topics/mine-1/consumers/ID", ""},
		{"POST", "/v1/topics/mine-1/consumers/ID/fetch", ""}, {"GET", "/v1/topics/mine-1/consumers/ID/stream", ""},
	} {
		answer := func(who, id string) string {
			status, body := g.do(who, call[0], strings.ReplaceAll(call[1], "ID", id), strings.ReplaceAll(call[2], "ID", id))
			return fmt.Sprint(status, strings.ReplaceAll(body, ":"+id, ":ID"))
		}
		assert.Equal(t, answer("alice", never), answer("alice", kept), call)
		assert.Equal(t, answer("alice", never), answer("alice", deleted), call)
	}
	_, answer := g.do("root", "GET", "/size?topic=mine-1&consumer_id=1", "")
	assert.Contains(t, answer, "does not exist any more", "who sees the topic is told more")
}

func TestAccess_DeadLetterTopicIsNamedOnlyToThoseWhoSeeIt(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": "*=admin,produce,consume", "reader": "T=consume"})
	g.do("root", "PUT", "/v1/topics/T", "")
	g.do("root", "PUT", "/v1/topics/D", `{"max_messages":1,"when_full":"refuse_new"}`)
	g.do("root", "POST", "/v1/topics/D/messages", "x")
	g.do("root", "POST", "/v1/topics/T/messages", "x")
	g.do("root", "POST", "/v1/topics/T/consumers", `{"name":"c","mode":"lease","start":"first","lease":"100ms","max_deliveries":1,"dead_letter_topic":"D"}`)
	status, _ := g.do("root", "POST", "/v1/topics/T/consumers/c/fetch", "")
	require.Equal(t, 200, status)
	status, answer := g.do("reader", "POST", "/v1/topics/T/consumers/c/fetch?wait=1s", "")
	assert.Equal(t, 503, status)
	assert.Contains(t, answer, `"dead_letter_refused"`)
	assert.NotContains(t, answer, "Topic:D")
	status, answer = g.do("root", "POST", "/v1/topics/T/consumers/c/fetch", "")
	assert.Equal(t, 429, status)
	assert.Contains(t, answer, "Topic:D is full")
}

func TestAccess_DeadLetterTopicIsCreatedOnlyByAdmins(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": "*=admin,produce,consume", "worker": "T*=consume,produce"})
	g.do("root", "PUT", "/v1/topics/T", "")
	const body = `{"name":"c","mode":"lease","max_deliveries":1,"dead_letter_topic":"T-dead"}`
	for _, test := range []struct {
		who, topic string
		status     int
	}{{"worker", "T", 404}, {"root", "T-none", 404}, {"worker", "T", 404}, {"root", "T", 201}, {"worker", "T", 200}} {
		status, answer := g.do(test.who, "POST", "/v1/topics/"+test.topic+"/consumers", body)
		assert.Equal(t, test.status, status, "%v %s", test, answer)
	}
}

func TestAccess_RevokedTokenEndsOpenCalls(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": "*=admin,produce,consume", "alice": "T=consume"})
	g.do("root", "PUT", "/v1/topics/T", "")
	for i := range 2 {
		g.do("root", "POST", "/v1/topics/T/consumers", fmt.Sprintf(`{"name":"c%d"}`, i))
	}
	type answer struct {
		call, body string
	}
	calls := []string{
		"GET /v1/topics/T/messages?from=new&wait=50s", "POST /v1/topics/T/consumers/c0/fetch?wait=50s",
		"GET /v1/topics/T/consumers/c1/stream", "SSE /v1/topics/T/messages",
	}
	answers := make(chan answer, len(calls))
	for _, call := range calls {
		method, path, _ := strings.Cut(call, " ")
		request, err := http.NewRequestWithContext(t.Context(), strings.Replace(method, "SSE", "GET", 1), g.url+path, nil)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+g.tokens["alice"])
		if method == "SSE" {
			request.Header.Set("Accept", "text/event-stream")
		}
		go func() {
			response, err := http.DefaultClient.Do(request)
			if assert.NoError(t, err) {
				body, err := io.ReadAll(response.Body)
				assert.NoError(t, err)
				_ = response.Body.Close()
				answers <- answer{call, string(body)}
			}
		}()
	}
	// What was taken for a consumer whose reader may not have it would be lost.
	position := func() string { _, body := g.do("root", "GET", "/v1/topics/T/consumers/c0", ""); return body }
	before := position()
	g.revoke("alice")
	for range calls {
		a := <-answers
		assert.Contains(t, a.body, "unauthenticated", a.call)
	}
	assert.Equal(t, before, position())
}

func TestAccess_ExpiredTokenEndsALongPollThatTakesNothing(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": "*=admin,produce,consume"})
	g.do("root", "PUT", "/v1/topics/T", "")
	g.do("root", "POST", "/v1/topics/T/consumers", `{"name":"c"}`)
	g.grant("bob", "T=consume", time.Now().Add(3*time.Second))
	require.Eventually(t, func() bool {
		status, _ := g.do("bob", "GET", "/v1/topics/T", "")
		return status == 200
	}, 3*time.Second, 10*time.Millisecond)
	status, answer := g.do("bob", "POST", "/v1/topics/T/consumers/c/fetch?wait=50s", "")
	assert.Equal(t, 401, status, answer)
	g.do("root", "POST", "/v1/topics/T/messages", "x")
	_, answer = g.do("root", "POST", "/v1/topics/T/consumers/c/fetch", "")
	assert.Contains(t, answer, `"sequence":1`)
}

func TestAccess_RevokedTokenEndsASocket(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": "*=admin,produce,consume", "alice": "T=consume"})
	g.do("root", "PUT", "/v1/topics/T", "")
	g.do("root", "POST", "/v1/topics/T/consumers", `{"name":"c","mode":"lease"}`)
	g.do("root", "POST", "/v1/topics/T/messages", "x")
	ws, answer, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(g.url, "http")+"/v1/topics/T/consumers/c/socket",
		http.Header{"Authorization": {"Bearer " + g.tokens["alice"]}})
	require.NoError(t, err)
	defer ws.Close()
	answer.Body.Close()
	require.NoError(t, ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"pull","count":1}`)))
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

func TestAccess_CallsWithoutATokenAreRefused(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{"root": "*=admin"})
	g.tokens["nobody"] = "dq_" + strings.Repeat("x", 43)
	for _, who := range []string{"", "nobody"} {
		for _, call := range append(callsOf("T"), [3]string{"GET", "/v1/topics", ""}, [3]string{"GET", "/topics", ""}, [3]string{"GET", "/nothing", ""}) {
			status, answer := g.do(who, call[0], call[1], call[2])
			assert.Equal(t, http.StatusUnauthorized, status, call)
			assert.Contains(t, answer, "unauthenticated")
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/openapi.yaml", "/docs/"} {
		status, _ := g.do("", "GET", path, "")
		assert.Equal(t, http.StatusOK, status, path)
	}
}

func TestAccess_ScopeAllowsOnlyItsOwnCalls(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, map[string]string{
		"root": "*=admin,produce,consume", "writer": "T=produce", "reader": "T=consume", "admin": "T=admin",
	})
	status, _ := g.do("root", "PUT", "/v1/topics/T", "")
	require.Equal(t, 201, status)
	for _, test := range []struct {
		who, method, path, body string
		status                  int
	}{
		{"writer", "POST", "/v1/topics/T/messages", "x", 201},
		{"reader", "POST", "/v1/topics/T/messages", "x", 403},
		{"admin", "POST", "/v1/topics/T/messages", "x", 403},
		{"reader", "GET", "/v1/topics/T/messages", "", 200},
		{"writer", "GET", "/v1/topics/T/messages", "", 403},
		{"writer", "GET", "/v1/topics/T", "", 200},
		{"reader", "POST", "/v1/topics/T/consumers", `{"mode":"lease","max_deliveries":1,"dead_letter_topic":"other"}`, 403},
		{"reader", "POST", "/v1/topics/T/consumers", `{"name":"c"}`, 201},
		{"reader", "POST", "/v1/topics/T/consumers/c/fetch", "", 200},
		{"admin", "POST", "/v1/topics/T/consumers/c/seek", `{"to":"first"}`, 200},
		{"admin", "POST", "/v1/topics/T/consumers/c/fetch", "", 403},
		{"writer", "POST", "/producer/register", `{"topic":"T"}`, 200},
		{"reader", "PATCH", "/v1/topics/T", `{"max_messages":1}`, 403},
		{"writer", "DELETE", "/v1/topics/T/messages", "", 403},
		{"writer", "DELETE", "/v1/topics/T", "", 403},
		{"admin", "DELETE", "/v1/topics/T", "", 204},
	} {
		status, answer := g.do(test.who, test.method, test.path, test.body)
		assert.Equal(t, test.status, status, "%v: %s", test, answer)
	}
	log, err := os.ReadFile(g.audit)
	require.NoError(t, err)
	assert.Contains(t, string(log), `"operation":"DELETE /v1/topics/:topic"`)
	for _, token := range g.tokens {
		assert.NotContains(t, string(log), token)
	}
}
