package test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

// dial connects to a broker without an HTTP client. The connection is closed with the test.
func dial(t testing.TB, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestRequest_AmbiguousLengthIsRefusedAndTheConnectionClosed(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
	c.registerProducer("T")
	t.Cleanup(func() {
		assert.Equal(t, []any{"T"}, c.topics().Message, "nothing of it was taken for a request")
	})

	const another = "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n\r\n" + `{"topic_name":"smuggled"}`
	for name, request := range ambiguousRequests() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, c.url)

			_, err := io.WriteString(conn, request+another)
			require.NoError(t, err)

			answers := bufio.NewReader(conn)
			answer, err := http.ReadResponse(answers, nil)
			require.NoError(t, err)
			text, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			assert.GreaterOrEqual(t, answer.StatusCode, 400)
			assert.Less(t, answer.StatusCode, 500)
			assert.Contains(t, string(text), `"code":"`)
			assert.Less(t, len(text), 500, "not all of the request")

			_, err = answers.ReadByte()
			closed := errors.Is(err, io.EOF) || err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
			assert.True(t, closed, "the connection is closed: %v", err)
		})
	}
}

// ambiguousRequests returns requests that servers understand differently, so that another request can be hidden in
// them. Most would create topic X.
func ambiguousRequests() map[string]string {
	const (
		post   = "POST /topics HTTP/1.1\r\nHost: x\r\n"
		body   = `{"topic_name":"X"}`
		length = "Content-Length: 18\r\n"
		chunks = "12\r\n" + body + "\r\n0\r\n\r\n"
	)

	return map[string]string{
		"a length, and chunks":         post + length + "Transfer-Encoding: chunked\r\n\r\n" + chunks,
		"chunks, and a length":         post + "Transfer-Encoding: chunked\r\n" + length + "\r\n" + chunks,
		"both, with Expect":            post + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n" + length + "\r\n" + chunks,
		"a length, and no chunk":       post + "content-length: 18\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":                  post + length + "Content-Length: 3\r\n\r\n" + body,
		"a length twice":               post + length + length + "\r\n" + body,
		"a list of lengths":            post + "Content-Length: 18, 18\r\n\r\n" + body,
		"a length with a sign":         post + "Content-Length: +18\r\n\r\n" + body,
		"a negative length":            post + "Content-Length: -1\r\n\r\n" + body,
		"a hexadecimal length":         post + "Content-Length: 0x12\r\n\r\n" + body,
		"a length beyond all":          post + "Content-Length: 99999999999999999999\r\n\r\n" + body,
		"an unknown encoding":          post + "Transfer-Encoding: xchunked\r\n\r\n" + chunks,
		"two encodings":                post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks,
		"a space before the colon":     post + "Transfer-Encoding : chunked\r\n\r\n" + chunks,
		"a chunk of no size":           post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body + "\r\n0\r\n\r\n",
		"a chunk of a negative size":   post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + body + "\r\n0\r\n\r\n",
		"a chunk beyond all":           post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + body + "\r\n0\r\n\r\n",
		"a chunk longer than its size": post + "Transfer-Encoding: chunked\r\n\r\n1\r\n" + body + "\r\n0\r\n\r\n",
		"encoding identity":            post + "Transfer-Encoding: identity\r\n\r\n" + body,
		"identity beside a length":     post + "Transfer-Encoding: identity\r\n" + length + "\r\n" + body,
		"chunks in HTTP/1.0":           "POST /topics HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
		"encoding twice":               post + strings.Repeat("Transfer-Encoding: chunked\r\n", 2) + "\r\n" + chunks,
		"LF in a chunk extension":      post + "Transfer-Encoding: chunked\r\n\r\n12;a\nb\r\n" + body + "\r\n0\r\n\r\n",
		"CR in a chunk extension":      post + "Transfer-Encoding: chunked\r\n\r\n12;a\rb\r\n" + body + "\r\n0\r\n\r\n",
		"chunks that end with LF":      post + "Transfer-Encoding: chunked\r\n\r\n12\n" + body + "\n0\n\n",
		"a header after the chunks":    post + "Transfer-Encoding: chunked\r\n\r\n12\r\n" + body + "\r\n0\r\nX: y\r\n\r\n",
		"a header that ends with LF":   post + "X: y\n" + length + "\r\n" + body,
		"a request line with LF":       "POST /topics HTTP/1.1\nHost: x\r\n" + length + "\r\n" + body,
		"LF before the request":        "\n" + post + length + "\r\n" + body,
		"a header with a bare CR":      post + "X: y\rZ: z\r\n" + length + "\r\n" + body,
		"a folded header":              post + "X: y\r\n z\r\n" + length + "\r\n" + body,
		"a folded length":              post + "Content-Length:\r\n 18\r\n\r\n" + body,
		"no version":                   "GET /topics\r\n\r\n",
		"another version":              "POST /topics HTTP/2.0\r\nHost: x\r\n" + length + "\r\n" + body,
		"another protocol":             "GET /topics FTP/1.1\r\nHost: x\r\n\r\n",
		"nonsense":                     "\x00\x01\x02\x03\r\n\r\n",
		"a long header":                post + "X: " + strings.Repeat("x", 20_000) + "\r\n" + length + "\r\n" + body,
		"many headers":                 post + strings.Repeat("X: x\r\n", 5000) + length + "\r\n" + body,
		"a long path":                  "GET /" + strings.Repeat("x", 20_000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"HTTP/2":                       "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"an unknown method":            "STEAL /topics HTTP/1.1\r\nHost: x\r\n\r\n",
	}
}

func TestRequest_RestOfARefusedBodyIsNotTakenForARequest(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
	c.registerProducer("T")
	smuggled := "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 24\r\n\r\n" + `{"topic_name":"smuggled"}`
	knownLength := bytes.NewReader(bytes.Repeat([]byte(smuggled), 200_000))
	chunked := io.MultiReader(strings.NewReader(smuggled), bytes.NewReader(make([]byte, 20_000_000)))

	for _, body := range []io.Reader{knownLength, chunked} {
		response, err := http.Post(c.url+"/nothing", "application/json", body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())

		assert.GreaterOrEqual(t, response.StatusCode, 400)
	}
	assert.Equal(t, []any{"T"}, c.topics().Message)
}

func TestRequest_RefusalQuotesNoTokens(t *testing.T) {
	t.Parallel()
	url := brokertest.Start(t, brokertest.Config("")).URL()
	const rest = "\r\nHost: x\r\nAuthorization: Bearer secret\r\n"

	for _, request := range []string{
		"GET /topics HTTP/1.1" + rest + "Transfer-Encoding: gzip\r\n\r\n",
		"GET /topics HTTP/1.1" + rest + "Content-Length: x\r\n\r\n",
		"GET /topics FTP/1.1" + rest + "\r\n",
		"GET  HTTP/1.1" + rest + "\r\n",
		"GET x HTTP/1.1" + rest + "\r\n",
		"G\x01T /topics HTTP/1.1" + rest + "\r\n",
		"GET /topics" + rest + "\r\n",
		"GET" + rest + "\r\n",
	} {
		conn := dial(t, url)
		_, err := io.WriteString(conn, request)
		require.NoError(t, err)

		answer, err := io.ReadAll(conn)

		require.NoError(t, err)
		assert.Contains(t, string(answer), `"code":"bad_request"`, request)
		assert.NotContains(t, string(answer), "secret", request)
	}
}

func TestRequest_NothingAfterABodyInChunksIsTakenForARequest(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
	const chunked = "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	const another = "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n\r\n" + `{"topic_name":"smuggled"}`

	for _, body := range []string{
		"2\r\n{}\r\n0\r\n\r\n",
		"2 \r\n{}\r\n0\r\n\r\n",
		"2;x=y\r\n{}\r\n0\r\n\r\n",
		"2\r\n{}\r\n0\r\n\n", // to a proxy, the end may be in the next request
	} {
		conn := dial(t, c.url)
		_, err := io.WriteString(conn, chunked+body+another)
		require.NoError(t, err)

		answers := bufio.NewReader(conn)
		answer, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, answer.Body)
		require.NoError(t, err)
		_, err = answers.ReadByte()

		assert.True(t, answer.Close, body)
		assert.Error(t, err, body)
	}
	assert.Equal(t, "no_topics", c.topics().Code)
}

func TestRequest_BodyThatEndsEarlyIsNotStored(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	start := "POST " + path("T", "messages") + " HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
	for _, rest := range []string{
		"Transfer-Encoding: chunked\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nfi",
		"Content-Length: 6\r\n\r\nfirst",
	} {
		conn := dial(t, a.url)
		_, err := io.WriteString(conn, start+rest)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())

		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		answer.Body.Close()

		assert.Equal(t, http.StatusBadRequest, answer.StatusCode, rest)
	}
	assert.Empty(t, a.browse("T"))
}

func TestRequest_UnknownPathsMethodsAndParametersAreRefused(t *testing.T) {
	t.Parallel()
	refuseAll(t, func(_ fixture) []refusal {
		return []refusal{
			{name: "unknown path", call: "GET /v1/nothing", status: 404, code: "path_not_found", detail: "/v1/nothing"},
			{
				name: "unknown path below a topic", call: "GET " + topicT + "/nothing",
				status: 404, code: "path_not_found", detail: "nothing",
			},
			{
				name: "unknown method", call: "POST /v1/topics", body: "{}",
				status: 405, code: "method_not_allowed", detail: "GET",
			},
			{name: "head of a call that changes something", call: "HEAD /consumer/consume", status: 405},
			{
				name: "fetch by GET", call: "GET " + autoT + "/fetch",
				status: 405, code: "method_not_allowed", detail: "POST",
			},
			{
				name: "stream by POST", call: "POST " + autoT + "/stream",
				status: 405, code: "method_not_allowed", detail: "GET",
			},
			{
				name: "a path that is not UTF-8", call: "GET /v1/topics/%ff",
				status: 400, code: "invalid_field", detail: "topic",
			},
			{
				name: "a consumer that is not UTF-8", call: "GET " + topicT + "/consumers/%ff",
				status: 400, code: "invalid_field", detail: "consumer",
			},
			{
				name: "a misspelt bound of a purge", call: "DELETE " + messagesT + "?upto=1",
				status: 400, code: "invalid_field", detail: "up_to",
			},
			{
				name: "an unknown parameter", call: "GET " + topicT + "?verbose=1",
				status: 400, code: "invalid_field", detail: "verbose",
			},
			{
				name: "a parameter of another call", call: "POST " + messagesT + "?wait=1s", body: `{"data":""}`,
				status: 400, code: "invalid_field", detail: "expected_last_sequence",
			},
			{
				name: "a parameter that is not UTF-8", call: "POST " + autoT + "/fetch?%ff=1",
				status: 400, code: "invalid_field", detail: "limit",
			},
			{
				name: "a compressed body", call: "POST " + messagesT, body: "\x1f\x8b",
				headers: []string{"Content-Type", "a/b", "Content-Encoding", "gzip"},
				status:  415, code: "unsupported_encoding", detail: "gzip",
			},
			{
				name: "a compressed batch", call: "POST " + messagesT, body: `[{"data":""}]`,
				headers: []string{"Content-Encoding", "zstd"},
				status:  415, code: "unsupported_encoding", detail: "zstd",
			},
		}
	})
}

func TestRequest_UnreadBodyIsNeverTakenForARequest(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	require.NoError(t, cfg.CORSOrigins.Decode("https://a.example"))
	open := startClassic(t, cfg)
	guarded := classic{t: t, url: startGuarded(t, map[string]string{"alice": "*=admin"}).url}
	const hidden = "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n\r\n" + `{"topic_name":"smuggled"}`
	inChunks := fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(hidden), hidden)
	ofLength := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(hidden), hidden)

	for head, broker := range map[string]classic{
		"OPTIONS /topics HTTP/1.1\r\nOrigin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n": open,
		"OPTIONS /topics HTTP/1.1\r\n":                              open,
		"POST /nowhere HTTP/1.1\r\n":                                open,
		"DELETE /topics HTTP/1.1\r\n":                               open,
		"BREW /topics HTTP/1.1\r\n":                                 open,
		"GET /livez HTTP/1.1\r\n":                                   open,
		"GET /docs/ HTTP/1.1\r\n":                                   open,
		"POST /topics HTTP/1.1\r\nOrigin: https://b.example\r\n":    open,
		"POST /topics HTTP/1.1\r\nContent-Encoding: gzip\r\n":       open,
		"POST /topics HTTP/1.1\r\n":                                 guarded,
		"POST /topics HTTP/1.1\r\nAuthorization: Bearer nobody\r\n": guarded,
	} {
		for _, body := range []string{ofLength, inChunks} {
			conn := dial(t, broker.url)
			const next = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
			_, err := io.WriteString(conn, head+"Host: x\r\n"+body+next)
			require.NoError(t, err)

			answers, err := io.ReadAll(conn)

			require.NoError(t, err, head)
			assert.LessOrEqual(t, bytes.Count(answers, []byte("HTTP/1.1 ")), 2, "%s: %s", head, answers)
			assert.NotContains(t, string(answers), "created successfully", head)
		}
	}
	assert.Equal(t, "no_topics", open.topics().Code)
}

func TestRequest_ExpectIsComparedWithoutCaseAndRefusedBeforeALargeBody(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
	const post = "POST /topics HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n"
	small, large := dial(t, c.url), dial(t, c.url)

	_, err := io.WriteString(small, post+"Content-Length: 18\r\n\r\n")
	require.NoError(t, err)
	_, err = io.WriteString(large, post+"Content-Length: 999999999\r\n\r\n")
	require.NoError(t, err)

	goesOn, err := http.ReadResponse(bufio.NewReader(small), nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusContinue, goesOn.StatusCode)
	tooLarge, err := http.ReadResponse(bufio.NewReader(large), nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusRequestEntityTooLarge, tooLarge.StatusCode)
	assert.True(t, tooLarge.Close)
}

func TestRequest_AnswerDoesNotWaitForTheNextBody(t *testing.T) {
	t.Parallel()
	c := startClassic(t, brokertest.Config(""))
	conn := dial(t, c.url)

	_, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"+
		"POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n{")
	require.NoError(t, err)

	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, answer.StatusCode)
}

func TestRequest_HeadAndOptionsTellOfACallWithoutMakingIt(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	call := func(method, path string) *http.Response {
		t.Helper()
		request, err := http.NewRequest(method, a.url+path, nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return answer
	}

	for _, path := range []string{
		"/topics", "/v1/topics", "/v1/topics/T", "/v1/topics/T/messages", "/livez", "/openapi.yaml",
	} {
		assert.Equal(t, http.StatusOK, call(http.MethodHead, path).StatusCode, path)
		options := call(http.MethodOptions, path)
		assert.Equal(t, http.StatusNoContent, options.StatusCode, path)
		assert.Contains(t, options.Header.Get("Allow"), "GET", path)
		assert.Contains(t, options.Header.Get("Allow"), "OPTIONS", path)
	}
	assert.Equal(t, http.StatusMethodNotAllowed, call(http.MethodHead, "/consumer/consume").StatusCode)
	assert.Equal(t, http.StatusNotFound, call(http.MethodOptions, "/nowhere").StatusCode)
}

func TestRequest_TrailingSlashAndRepeatedParameterAreRefused(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.fill("T", 0, 3)
	purge := func(path string) int {
		t.Helper()
		request, err := http.NewRequest(http.MethodDelete, a.url+path, nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return answer.StatusCode
	}

	assert.Equal(t, http.StatusNotFound, purge("/v1/topics/T/messages/"))
	assert.Equal(t, http.StatusNotFound, purge("/v1/topics/T//messages"))
	assert.Equal(t, http.StatusBadRequest, purge("/v1/topics/T/messages?up_to=1&up_to=3"))

	assert.EqualValues(t, 3, a.topic("T").Messages)
	assert.Equal(t, http.StatusOK, a.classic().get("/topics/", "T", 0).HTTP, "old clients may add a slash")
}

func TestRequest_MediaTypesAndByteOrderMarksMakeNoDifference(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	bom := "\ufeff"

	const mixedCase = "Application/JSON; charset=utf-8"
	a.do(http.MethodPost, path("T", "messages"), bom+`[{"data":"1"}]`, "Content-Type", mixedCase).
		is(http.StatusCreated)
	a.do(http.MethodPost, path("T", "messages"), bom+"{\"data\":\"2\"}\n", "Content-Type", "application/x-ndjson").
		is(http.StatusCreated)
	a.classic().do(http.MethodPost, "/consumer/register", bom+`{"topic":"T"}`)
	request := a.request(t.Context(), http.MethodGet, path("T", "messages")+"?from=first", "",
		"Accept", "Text/Event-Stream; charset=utf-8")
	stream, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer stream.Body.Close()

	assert.Equal(t, []string{"1", "2"}, textsOf(a.browse("T", "from=first")))
	assert.Equal(t, "text/event-stream", stream.Header.Get("Content-Type"))
}

func TestRequest_AcceptIsWeighed(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	const asJSON, asLines = "application/json", "application/x-ndjson"

	for _, call := range []struct {
		accept []string
		want   string
	}{
		{accept: nil, want: asJSON},
		{accept: []string{"*/*"}, want: asJSON},
		{accept: []string{"text/html"}, want: asJSON},
		{accept: []string{"application/json;q=0.1, Application/X-NDJSON"}, want: asLines},
		{accept: []string{"application/json, application/x-ndjson;q=0.9"}, want: asJSON},
		{accept: []string{"application/x-ndjson;q=0, */*"}, want: asJSON},
		{accept: []string{"text/html, application/x-ndjson; charset=utf-8; Q=0.5"}, want: asLines},
		{accept: []string{"text/html", "application/x-ndjson"}, want: asLines},
	} {
		request := a.request(t.Context(), http.MethodGet, path("T", "messages"), "")
		request.Header["Accept"] = call.accept

		answer := a.send(request, "").is(http.StatusOK)

		assert.Equal(t, call.want, answer.header.Get("Content-Type"), call.accept)
	}
}

func TestRequest_FormTypeIsNotKeptHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")

	for _, form := range []string{"application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=UTF-8"} {
		a.do(http.MethodPost, path("T", "messages"), "text", "Content-Type", form).is(http.StatusCreated)
	}

	for _, m := range a.browse("T") {
		assert.Empty(t, m.ContentType)
		assert.Equal(t, "text", m.text())
	}
}

func TestRequest_HalfARequestDoesNotDelayAStop(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, brokertest.Config(""))
	for _, half := range []string{
		"POST /topics HTTP/1.1\r\nHo",
		"POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n{",
	} {
		_, err := io.WriteString(dial(t, b.URL()), half)
		require.NoError(t, err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	assert.NoError(t, b.Stop(ctx), "half a request is not under way")
}
