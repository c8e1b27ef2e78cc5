package facade_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/broker/brokertest"
	"dq/facade/access"
)

// guarded is a broker that asks for tokens, with those of some holders.
type guarded struct {
	t      *testing.T
	url    string
	tokens map[string]string
	audit  string
}

func startGuarded(t *testing.T, grants map[string]string) *guarded {
	t.Helper()
	g := &guarded{t: t, tokens: make(map[string]string), audit: filepath.Join(t.TempDir(), "audit.log")}
	file := filepath.Join(t.TempDir(), "tokens.json")
	for name, grant := range grants {
		token, hash := access.NewToken()
		parsed, err := access.ParseGrant(grant)
		require.NoError(t, err)
		require.NoError(t, access.Append(file, access.Entry{Name: name, SHA256: hash, Grants: []access.Grant{parsed}}))
		g.tokens[name] = token
	}
	cfg := brokertest.Config("")
	cfg.Tokens, cfg.AuditLog = file, g.audit
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

func TestWhoHasNoGrantCannotTellWhetherATopicExists(t *testing.T) {
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

func TestNothingIsAnsweredWithoutAToken(t *testing.T) {
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

func TestAScopeIsForWhatItSays(t *testing.T) {
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
