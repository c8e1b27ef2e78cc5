package test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

// dial connects to a broker without an HTTP client.
func dial(t testing.TB, url string) net.Conn {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestRequestsWhoseEndIsInDoubtAreRefusedAndTheConnectionClosed(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	s.registerProducer("T")
	const (
		post    = "POST /topics HTTP/1.1\r\nHost: x\r\n"
		body    = `{"topic_name":"X"}`
		length  = "Content-Length: 18\r\n"
		chunks  = "12\r\n" + body + "\r\n0\r\n\r\n"
		another = "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n\r\n" + `{"topic_name":"smuggled"}`
	)
	for name, request := range map[string]string{
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
		"an encoding of nobody":        post + "Transfer-Encoding: xchunked\r\n\r\n" + chunks,
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
		"a method of nobody":           "STEAL /topics HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, s.url)
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
			assert.True(t, errors.Is(err, io.EOF) || err != nil && !errors.Is(err, os.ErrDeadlineExceeded), "the connection is closed: %v", err)
		})
	}
	t.Cleanup(func() {
		assert.Equal(t, []any{"T"}, s.do(http.MethodGet, "/topics", "").Message, "nothing of it was taken for a request")
	})
}

func TestABodyThatEndsEarlyIsNotStored(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	for _, body := range []string{
		"Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nfi",
		"Content-Length: 6\r\n\r\nfirst",
	} {
		conn := dial(t, a.url)
		_, err := io.WriteString(conn, "POST "+path("T", "messages")+" HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"+body)
		require.NoError(t, err)
		half, ok := conn.(*net.TCPConn)
		require.True(t, ok)
		require.NoError(t, half.CloseWrite())
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusBadRequest, answer.StatusCode, body)
		answer.Body.Close()
	}
	assert.Empty(t, a.browse("T"))
}

func TestAFormIsAMessageAsItIs(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	const kind = "multipart/form-data; boundary=zz"
	for i, body := range []string{
		"before\r\n--zz\r\nContent-Disposition: form-data; name=b\r\n\r\n1\r\n--zz\r\nContent-Disposition: form-data; name=a\r\nContent-Type: x/y\r\n\r\n2\r\n--zz--\r\nbehind",
		"no form at all",
	} {
		answer, err := http.Post(a.url+path("T", "messages"), kind, strings.NewReader(body)) //nolint:noctx // short
		require.NoError(t, err)
		answer.Body.Close()
		require.Equal(t, http.StatusCreated, answer.StatusCode)
		stored := a.browse("T")[i]
		assert.Equal(t, kind, stored.ContentType)
		assert.Equal(t, body, *stored.Data)
	}
}

// A client that sends a byte now and then must not keep a connection for ever.
func TestASlowClientIsCutOff(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	var clients sync.WaitGroup // one test, as they wait rather than work
	for name, begin := range map[string]string{
		"headers": "POST /topics HTTP/1.1\r\nX: ",
		"body":    "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{",
		"chunks":  "POST /topics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n{",
	} {
		conn := dial(t, s.url)
		clients.Go(func() { assert.True(t, cutOff(conn, begin), name) })
	}
	clients.Wait()
	s.registerProducer("T")
}

// cutOff says begin and then a byte now and then, and reports whether the broker
// closes the connection before there are thousands.
func cutOff(conn net.Conn, begin string) bool {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, conn) // the answer, if there is one
	}()
	bytes := time.NewTicker(100 * time.Millisecond)
	defer bytes.Stop()
	_, _ = io.WriteString(conn, begin)
	for range 3000 {
		select {
		case <-closed:
			return true
		case <-bytes.C:
			_, _ = io.WriteString(conn, "x")
		}
	}
	return false
}
