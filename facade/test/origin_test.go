package test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

// browserCall makes a call as a browser does for a page: with headers that say where it comes from.
func (a api) browserCall(method, path, body string, headers http.Header) int {
	a.t.Helper()
	request, err := http.NewRequest(method, a.url+path, strings.NewReader(body))
	require.NoError(a.t, err)
	request.Header = headers
	request.Host = headers.Get("Host")

	answer, err := http.DefaultClient.Do(request)

	require.NoError(a.t, err)
	require.NoError(a.t, answer.Body.Close())
	return answer.StatusCode
}

func TestOrigin_PageOfAnotherOriginCanDoNothing(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	require.NoError(t, cfg.CORSOrigins.Decode("none"))
	a := startAPI(t, cfg)
	a.createTopic("T")
	a.fill("T", 0, 1)
	consumer := a.register("T", object{"start": "first"})

	for _, from := range []http.Header{
		{"Origin": {"https://evil.example"}},
		{"Origin": {"null"}},
		{"Origin": {"http://localhost:1"}, "Sec-Fetch-Site": {"same-site"}},
		{"Sec-Fetch-Site": {"cross-site"}}, // an image, a link or a form
		{"Sec-Fetch-Site": {"same-site"}},
		{"Host": {"evil.example"}}, // DNS rebinding
		{"Host": {"evil.example"}, "Origin": {"http://evil.example"}, "Sec-Fetch-Site": {"same-origin"}},
	} {
		for _, call := range []struct{ method, path, body string }{
			{method: http.MethodGet, path: "/topics"},
			{method: http.MethodGet, path: "/consumer/consume?topic=T&consumer_id=0"},
			{method: http.MethodPost, path: "/topics", body: `{"topic_name":"X"}`},
			{method: http.MethodGet, path: "/v1/topics"},
			{method: http.MethodPost, path: "/v1/topics/T/messages", body: "x"},
			{method: http.MethodDelete, path: "/v1/topics/T"},
		} {
			status := a.browserCall(call.method, call.path, call.body, from.Clone())

			assert.Contains(t, []int{http.StatusForbidden, http.StatusMisdirectedRequest}, status, "%v %v", from, call)
		}
	}

	assert.EqualValues(t, 1, a.topic("T").LastSequence)
	assert.EqualValues(t, 1, a.consumer("T", consumer.ID).describe().Size)
}

func TestOrigin_OwnPagesToolsAndAllowedOriginsAreLetIn(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	require.NoError(t, cfg.CORSOrigins.Decode("https://a.example,https://*.b.example"))
	a := startAPI(t, cfg)
	a.createTopic("T")
	host := strings.TrimPrefix(a.url, "http://")

	for _, from := range []http.Header{
		{}, // no browser
		{"Origin": {a.url}, "Sec-Fetch-Site": {"same-origin"}},
		{"Sec-Fetch-Site": {"none"}}, // typed by a person
		{"Origin": {"https://a.example"}, "Sec-Fetch-Site": {"cross-site"}},
		{"Origin": {"https://x.b.example"}},
		{"Host": {"a.example"}}, // a proxy of that name
		{"Host": {"localhost"}},
		{"Host": {"dq.localhost:80"}},
		{"Host": {"[::1]:5000"}},
		{"Host": {host}},
	} {
		assert.Equal(t, http.StatusOK, a.browserCall(http.MethodGet, "/topics", "", from.Clone()), "%v", from)
	}
	link := http.Header{"Sec-Fetch-Site": {"cross-site"}}
	assert.Equal(t, http.StatusOK, a.browserCall(http.MethodGet, "/docs/", "", link), "what everybody may read")
}

func TestOrigin_SocketOfAnotherOriginIsRefused(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	require.NoError(t, cfg.CORSOrigins.Decode("none"))
	a := startAPI(t, cfg)
	a.createTopic("T")
	a.register("T", object{"name": "c"})
	url := "ws" + strings.TrimPrefix(a.url, "http") + path("T", "consumers", "c", "socket")

	_, refusal, err := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {"https://evil.example"}})
	ws, _, accepted := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {a.url}})

	assert.Error(t, err)
	assert.Equal(t, http.StatusForbidden, refusal.StatusCode)
	require.NoError(t, accepted)
	require.NoError(t, ws.Close())
}

func TestOrigin_RawMessageCannotRunAsAPage(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.do(http.MethodPost, path("T", "messages"), "<script>alert(1)</script>", "Content-Type", "text/html").
		is(http.StatusCreated)

	raw := a.get(path("T", "messages", 1) + "?raw=true").is(http.StatusOK)
	docs, err := http.Get(a.url + "/docs/")
	require.NoError(t, err)
	require.NoError(t, docs.Body.Close())

	assert.Equal(t, "nosniff", raw.header.Get("X-Content-Type-Options"))
	assert.Equal(t, "attachment", raw.header.Get("Content-Disposition"))
	assert.Contains(t, raw.header.Get("Content-Security-Policy"), "sandbox")
	assert.Contains(t, docs.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
	assert.Equal(t, "DENY", docs.Header.Get("X-Frame-Options"))
}
