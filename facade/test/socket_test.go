package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

// socket is a WebSocket on a consumer.
type socket struct {
	t  testing.TB
	ws *websocket.Conn
}

// said is what the broker sends.
type said struct {
	Type    string
	ID      json.RawMessage
	Message *json.RawMessage
	Problem *json.RawMessage
}

func (a api) socket(topic string, label any) socket {
	a.t.Helper()
	ws, answer, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(a.url, "http")+path(topic, "consumers", label, "socket"), nil)
	require.NoError(a.t, err)
	answer.Body.Close()
	a.t.Cleanup(func() { ws.Close() })
	require.NoError(a.t, ws.SetReadDeadline(time.Now().Add(time.Minute)))
	return socket{a.t, ws}
}

func (s socket) say(text string) {
	s.t.Helper()
	require.NoError(s.t, s.ws.WriteMessage(websocket.TextMessage, []byte(text)))
}

func (s socket) hear() (out said) {
	s.t.Helper()
	_, text, err := s.ws.ReadMessage()
	require.NoError(s.t, err)
	require.NoError(s.t, json.Unmarshal(text, &out), string(text))
	return out
}

// messages hears n messages.
func (s socket) messages(n int) []message {
	s.t.Helper()
	out := make([]message, n)
	for i := range out {
		heard := s.hear()
		require.Equal(s.t, "message", heard.Type)
		require.NotNil(s.t, heard.Message)
		describedAs(s.t, path("t", "messages", 1), http.StatusOK, string(*heard.Message))
		require.NoError(s.t, json.Unmarshal(*heard.Message, &out[i]))
	}
	return out
}

// done hears that a request with that id is done.
func (s socket) done(id string) {
	s.t.Helper()
	heard := s.hear()
	require.Equal(s.t, "ok", heard.Type)
	require.Equal(s.t, id, string(heard.ID))
}

// refused hears that a request is refused.
func (s socket) refused(id, code string) (p problem) {
	s.t.Helper()
	heard := s.hear()
	require.Equal(s.t, "error", heard.Type)
	require.Equal(s.t, id, string(heard.ID))
	require.NotNil(s.t, heard.Problem)
	describedAs(s.t, path("t"), http.StatusNotFound, string(*heard.Problem))
	require.NoError(s.t, json.Unmarshal(*heard.Problem, &p))
	require.Equal(s.t, code, p.Code, p.Detail)
	return p
}

// closed waits until the broker closes the socket, and returns the code.
func (s socket) closed() int {
	s.t.Helper()
	for {
		_, _, err := s.ws.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			return closed.Code
		}
		require.NoError(s.t, err)
	}
}

func TestSocket_SendsWhatIsPulledAndNoMore(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 0, 500)
	c := a.consumer("T", `{"start":"first"}`)
	s := a.socket("T", c.ID)
	s.say(`{"type":"pull","count":3}`)
	assert.Equal(t, numbers(0, 3), textsOf(s.messages(3)))
	s.say(`{"type":"nonsense","id":1}`)
	s.refused("1", "invalid_field") // and not a message
	assert.EqualValues(t, 497, a.describe("T", c.ID).Lag)
	s.say(`{"type":"pull","count":100}`)
	s.say(`{"type":"pull","count":150}`)
	same(t, numbers(3, 250), textsOf(s.messages(250)))
	s.say(`{"type":"nonsense","id":"x"}`)
	s.refused(`"x"`, "invalid_field")
	assert.EqualValues(t, 247, a.describe("T", c.ID).Lag)

	require.Len(t, a.drain("T", c.ID), 247)
	s.say(`{"type":"pull","count":2,"id":[7]}`)
	s.done("[7]")
	a.fill("T", 500, 3)
	assert.Equal(t, numbers(500, 2), textsOf(s.messages(2)), "it waits for what is not there yet")
	assert.EqualValues(t, 1, a.describe("T", c.ID).Lag)

	s.say(`{"type":"pull","count":1}`)
	s.messages(1)
	s.say(`{"type":"pull","count":1}`)
	s.ws.Close()
	require.Empty(t, a.fetch("T", c.ID, "wait=200ms")) // the broker has heard of it
	a.fill("T", 503, 1)
	assert.Equal(t, numbers(503, 1), textsOf(a.fetch("T", c.ID, within)), "a socket that was closed takes nothing")
}

func TestSocket_AcknowledgesAndExtendsLeases(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 0, 6)
	c := a.consumer("T", `{"mode":"lease","start":"first"}`)
	s := a.socket("T", c.ID)
	s.say(`{"type":"pull","count":6}`)
	got := s.messages(6)
	settle := func(op string, tokens []string, more string) {
		s.say(fmt.Sprintf(`{"type":"%s","id":0,"tokens":%s%s}`, op, jsonOf(t, tokens), more))
	}
	settle("ack", tokensOf(got[:1]), "")
	s.done("0")
	settle("ack", tokensOf(got[:2]), "")
	p := s.refused("0", "lease_lost")
	assert.Equal(t, tokensOf(got[:1]), p.Tokens)
	settle("extend", tokensOf(got[2:3]), `,"lease":"1h"`)
	s.done("0")
	settle("nack", tokensOf(got[3:4]), `,"delay":"1h"`)
	s.done("0")
	settle("nack", tokensOf(got[4:5]), "")
	s.done("0")
	s.say(`{"type":"pull","count":5}`)
	again := s.messages(1)
	assert.Equal(t, "4", again[0].text())
	assert.Equal(t, 2, again[0].Deliveries)
	s.say(fmt.Sprintf(`{"type":"ack","id":0,"up_to":"%s"}`, got[5].Token))
	s.done("0")
	assert.Zero(t, a.describe("T", c.ID).Size)
}

func TestSocket_MalformedInputIsAnsweredAndLeavesItOpen(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.fill("T", 0, 1)
	c := a.consumer("T", `{"start":"first"}`)
	s := a.socket("T", c.ID)
	for text, want := range map[string]struct{ id, code string }{
		``:                               {"", "invalid_json"},
		`{`:                              {"", "invalid_json"},
		`[]`:                             {"", "invalid_json"},
		`"pull"`:                         {"", "invalid_json"},
		"\xff\xfe":                       {"", "invalid_json"},
		`{}`:                             {"", "invalid_field"},
		`null`:                           {"", "invalid_json"},
		`{"id":1}`:                       {"1", "invalid_field"},
		`{"type":"PULL","id":1}`:         {"1", "invalid_field"},
		`{"type":"pull","id":1}`:         {"1", "invalid_field"},
		`{"type":"pull","count":0}`:      {"", "invalid_field"},
		`{"type":"pull","count":-1}`:     {"", "invalid_field"},
		`{"type":"pull","count":10001}`:  {"", "invalid_field"},
		`{"type":"pull","count":1.5}`:    {"", "invalid_field"},
		`{"type":"pull","count":"1"}`:    {"", "invalid_field"},
		`{"id":1,"type":"pull","cnt":1}`: {"1", "invalid_field"},
		`{"type":"ack"}`:                 {"", "missing_field"},
		`{"type":"ack","tokens":[]}`:     {"", "missing_field"},
		`{"type":"ack","tokens":"a"}`:    {"", "invalid_field"},
		`{"type":"ack","tokens":["a"]}`:  {"", "wrong_mode"},
		`{"type":"nack","up_to":"a"}`:    {"", "invalid_field"},
		`{"type":"extend","tokens":["a"],"delay":"1s"}`: {"", "invalid_field"},
	} {
		s.say(text)
		s.refused(want.id, want.code)
	}
	require.NoError(t, s.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"pull","count":1}`)))
	assert.Equal(t, []string{"0"}, textsOf(s.messages(1)))
	s.say(strings.Repeat(" ", 1<<20+1))
	assert.Equal(t, 1009, s.closed(), "but what is too big is too big")
}

func TestSocket_EndsWithItsConsumer(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	c := a.consumer("T", "")
	s := a.socket("T", c.ID)
	s.say(`{"type":"pull","count":1}`)
	a.del(path("T", "consumers", c.ID)).is(http.StatusNoContent)
	a.fill("T", 0, 1)
	s.refused("", "consumer_not_found")
	assert.Equal(t, 1001, s.closed())
}

func TestSocket_IsPinged(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	c := a.consumer("T", "")
	for _, pull := range []string{"", `{"type":"pull","count":1}`} {
		s := a.socket("T", c.ID)
		pings := make(chan struct{}, 100)
		s.ws.SetPingHandler(func(data string) error {
			pings <- struct{}{}
			return s.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		})
		if pull != "" {
			s.say(pull)
		}
		go func() { _, _, _ = s.ws.ReadMessage() }()
		for range 5 { // more than one who does not answer would get
			<-pings
		}
	}
}

func TestSocket_NeedsAnUpgradeAConsumerAndAnAllowedOrigin(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	cfg.CORSOrigins = "https://a.example, https://b.example"
	a := startAPI(t, cfg)
	a.topic("T", "")
	c := a.consumer("T", "")
	a.get(path("T", "consumers", c.ID, "socket")).refuses(http.StatusUpgradeRequired, "upgrade_required")
	dial := func(label any, origin string) int {
		ws, answer, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(a.url, "http")+path("T", "consumers", label, "socket"), http.Header{"Origin": {origin}})
		if err == nil {
			ws.Close()
		}
		require.NotNil(t, answer)
		answer.Body.Close()
		return answer.StatusCode
	}
	assert.Equal(t, http.StatusSwitchingProtocols, dial(c.ID, "https://a.example"))
	assert.Equal(t, http.StatusSwitchingProtocols, dial(c.ID, "https://b.example"))
	assert.Equal(t, http.StatusForbidden, dial(c.ID, "https://evil.example"))
	assert.Equal(t, http.StatusNotFound, dial(7, "https://a.example"))
}
