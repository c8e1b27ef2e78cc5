package test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

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
		"no version":                   "GET /topics\r\n\r\n",
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
			{name: "head", call: "HEAD " + topicT, status: 405},
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
