package test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

// socket is a WebSocket of a consumer.
type socket struct {
	t  testing.TB
	ws *websocket.Conn
}

// frame is what the broker sends.
type frame struct {
	Type    string
	ID      json.RawMessage
	Message *json.RawMessage
	Problem *json.RawMessage
}

// socket opens the WebSocket of the consumer. It is closed with the test.
func (c consumer) socket() socket {
	c.api.t.Helper()
	ws, answer, err := websocket.DefaultDialer.Dial(c.socketURL(), nil)
	require.NoError(c.api.t, err)
	answer.Body.Close()
	c.api.t.Cleanup(func() { ws.Close() })

	require.NoError(c.api.t, ws.SetReadDeadline(time.Now().Add(time.Minute)))
	return socket{t: c.api.t, ws: ws}
}

// socketURL returns the URL of the consumer's WebSocket.
func (c consumer) socketURL() string {
	return "ws" + strings.TrimPrefix(c.api.url, "http") + c.path + "/socket"
}

// send sends text, which may be malformed.
func (s socket) send(text string) {
	s.t.Helper()
	require.NoError(s.t, s.ws.WriteMessage(websocket.TextMessage, []byte(text)))
}

// request sends a request.
func (s socket) request(request object) {
	s.t.Helper()
	s.send(jsonOf(s.t, request))
}

// pull asks for n messages.
func (s socket) pull(n int) {
	s.t.Helper()
	s.request(object{"type": "pull", "count": n})
}

// read reads the next frame.
func (s socket) read() (out frame) {
	s.t.Helper()
	_, text, err := s.ws.ReadMessage()
	require.NoError(s.t, err)
	require.NoError(s.t, json.Unmarshal(text, &out), string(text))
	return out
}

// messages reads n messages and checks them against the description.
func (s socket) messages(n int) []message {
	s.t.Helper()
	out := make([]message, n)
	for i := range out {
		got := s.read()
		require.Equal(s.t, "message", got.Type)
		require.NotNil(s.t, got.Message)
		describedMessage(s.t, string(*got.Message))
		require.NoError(s.t, json.Unmarshal(*got.Message, &out[i]))
	}
	return out
}

// isDone reads that the request of that id is done.
func (s socket) isDone(id string) {
	s.t.Helper()
	got := s.read()
	require.Equal(s.t, "ok", got.Type)
	require.Equal(s.t, id, string(got.ID))
}

// isRefused reads that the request of that id is refused.
func (s socket) isRefused(id, code string) (p problem) {
	s.t.Helper()
	got := s.read()
	require.Equal(s.t, "error", got.Type)
	require.Equal(s.t, id, string(got.ID))
	require.NotNil(s.t, got.Problem)

	describedProblem(s.t, string(*got.Problem))
	require.NoError(s.t, json.Unmarshal(*got.Problem, &p))
	require.Equal(s.t, code, p.Code, p.Detail)
	return p
}

// closed reads until the broker closes the socket, and returns the code.
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
	a.createTopic("T")
	a.fill("T", 0, 500)
	c := a.register("T", object{"start": "first"})
	s := c.socket()

	s.pull(3)

	assert.Equal(t, numbers(0, 3), textsOf(s.messages(3)))
	s.request(object{"type": "nonsense", "id": 1})
	s.isRefused("1", "invalid_field") // and not a message
	assert.EqualValues(t, 497, c.describe().Lag)

	s.pull(100)
	s.pull(150)

	same(t, numbers(3, 250), textsOf(s.messages(250)))
	s.request(object{"type": "nonsense", "id": "x"})
	s.isRefused(`"x"`, "invalid_field")
	assert.EqualValues(t, 247, c.describe().Lag)
}

func TestSocket_PullWaitsForMessages(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	c := a.register("T")
	s := c.socket()

	s.request(object{"type": "pull", "count": 2, "id": []int{7}})
	s.isDone("[7]")
	a.fill("T", 500, 3)

	assert.Equal(t, numbers(500, 2), textsOf(s.messages(2)), "it waits for messages that come later")
	assert.EqualValues(t, 1, c.describe().Lag)
}

func TestSocket_ClosedTakesNothing(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 502, 1)
	c := a.register("T", object{"start": "first"})
	s := c.socket()
	s.pull(1)
	s.messages(1)

	s.pull(1)
	s.ws.Close()
	require.Empty(t, c.fetch("wait=200ms")) // by then the broker has noticed
	a.fill("T", 503, 1)

	assert.Equal(t, numbers(503, 1), textsOf(c.fetch(within)))
}

func TestSocket_AcknowledgesAndExtendsLeases(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 6)
	c := a.register("T", object{"mode": "lease", "start": "first"})
	s := c.socket()
	s.pull(6)
	got := s.messages(6)

	s.request(object{"type": "ack", "id": 0, "tokens": tokensOf(got[:1])})
	s.isDone("0")
	s.request(object{"type": "ack", "id": 0, "tokens": tokensOf(got[:2])})
	p := s.isRefused("0", "lease_lost")
	assert.Equal(t, tokensOf(got[:1]), p.Tokens)
	s.request(object{"type": "extend", "id": 0, "tokens": tokensOf(got[2:3]), "lease": "1h"})
	s.isDone("0")
	s.request(object{"type": "nack", "id": 0, "tokens": tokensOf(got[3:4]), "delay": "1h"})
	s.isDone("0")
	s.request(object{"type": "nack", "id": 0, "tokens": tokensOf(got[4:5])})
	s.isDone("0")

	s.pull(5)
	again := s.messages(1)
	assert.Equal(t, "4", again[0].text())
	assert.Equal(t, 2, again[0].Deliveries)
	s.request(object{"type": "ack", "id": 0, "up_to": got[5].Token})
	s.isDone("0")
	assert.Zero(t, c.describe().Size)
}

func TestSocket_MalformedInputIsAnsweredAndLeavesItOpen(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 1)
	s := a.register("T", object{"start": "first"}).socket()

	for text, want := range map[string]struct{ id, code string }{
		``:                               {code: "invalid_json"},
		`{`:                              {code: "invalid_json"},
		`[]`:                             {code: "invalid_json"},
		`"pull"`:                         {code: "invalid_json"},
		"\xff\xfe":                       {code: "invalid_json"},
		`{}`:                             {code: "invalid_field"},
		`null`:                           {code: "invalid_json"},
		`{"id":1}`:                       {id: "1", code: "invalid_field"},
		`{"type":"PULL","id":1}`:         {id: "1", code: "invalid_field"},
		`{"type":"pull","id":1}`:         {id: "1", code: "invalid_field"},
		`{"type":"pull","count":0}`:      {code: "invalid_field"},
		`{"type":"pull","count":-1}`:     {code: "invalid_field"},
		`{"type":"pull","count":10001}`:  {code: "invalid_field"},
		`{"type":"pull","count":1.5}`:    {code: "invalid_field"},
		`{"type":"pull","count":"1"}`:    {code: "invalid_field"},
		`{"id":1,"type":"pull","cnt":1}`: {id: "1", code: "invalid_field"},
		`{"type":"ack"}`:                 {code: "missing_field"},
		`{"type":"ack","tokens":[]}`:     {code: "missing_field"},
		`{"type":"ack","tokens":"a"}`:    {code: "invalid_field"},
		`{"type":"ack","tokens":["a"]}`:  {code: "wrong_mode"},
		`{"type":"nack","up_to":"a"}`:    {code: "invalid_field"},
		`{"type":"extend","tokens":["a"],"delay":"1s"}`: {code: "invalid_field"},
	} {
		s.send(text)
		s.isRefused(want.id, want.code)
	}

	pull := jsonOf(t, object{"type": "pull", "count": 1})
	require.NoError(t, s.ws.WriteMessage(websocket.BinaryMessage, []byte(pull)))
	assert.Equal(t, []string{"0"}, textsOf(s.messages(1)))

	s.send(strings.Repeat(" ", 1<<20+1))
	assert.Equal(t, 1009, s.closed(), "but what is too big closes it")
}

func TestSocket_EndsWithItsConsumer(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	c := a.register("T")
	s := c.socket()
	s.pull(1)

	c.del().is(http.StatusNoContent)
	a.fill("T", 0, 1)

	s.isRefused("", "consumer_not_found")
	assert.Equal(t, 1001, s.closed())
}

func TestSocket_IsPinged(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	c := a.register("T")
	for _, pulls := range []bool{false, true} {
		s := c.socket()
		pings := make(chan struct{}, 100)
		s.ws.SetPingHandler(func(data string) error {
			pings <- struct{}{}
			return s.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		})

		if pulls {
			s.pull(1)
		}
		go func() { _, _, _ = s.ws.ReadMessage() }()

		for range 5 { // a client that does not answer would get fewer
			<-pings
		}
	}
}

func TestSocket_NeedsAnUpgradeAConsumerAndAnAllowedOrigin(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	cfg.CORSOrigins = "https://a.example, https://b.example"
	a := startAPI(t, cfg)
	a.createTopic("T")
	c := a.register("T")
	status := func(c consumer, origin string) int {
		ws, answer, err := websocket.DefaultDialer.Dial(c.socketURL(), http.Header{"Origin": {origin}})
		if err == nil {
			ws.Close()
		}
		require.NotNil(t, answer)
		answer.Body.Close()
		return answer.StatusCode
	}

	a.get(c.path+"/socket").refuses(http.StatusUpgradeRequired, "upgrade_required")
	assert.Equal(t, http.StatusSwitchingProtocols, status(c, "https://a.example"))
	assert.Equal(t, http.StatusSwitchingProtocols, status(c, "https://b.example"))
	assert.Equal(t, http.StatusForbidden, status(c, "https://evil.example"))
	assert.Equal(t, http.StatusNotFound, status(a.consumer("T", 7), "https://a.example"))
}

func TestSocket_BadCallsAreRefused(t *testing.T) {
	t.Parallel()
	refuseAll(t, func(_ fixture) []refusal {
		return []refusal{
			{
				name: "a socket without an upgrade", call: "GET " + autoT + "/socket",
				status: 426, code: "upgrade_required", detail: "WebSocket",
			},
		}
	})
}
