package test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

// clientAt returns an HTTP client that connects from a local address, on a connection of its own for each request
// under way. It skips the test where that is no address of this machine.
func clientAt(t *testing.T, local string) *http.Client {
	t.Helper()
	l, err := net.Listen("tcp", local+":0")
	if err != nil {
		t.Skip("this machine has one loopback address only:", err)
	}
	require.NoError(t, l.Close())

	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func TestConnections_OneAddressLeavesSomeToOthers(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	cfg.MaxConnectionsPerAddr = "2"
	a := startAPI(t, cfg)
	other := a
	other.client = clientAt(t, "127.0.0.2")
	first, second, third := dial(t, a.url), dial(t, a.url), dial(t, a.url)

	_, refused := third.Read(make([]byte, 1))

	assert.Error(t, refused, "closed at once")
	assert.Equal(t, 200, statusOn(t, first))
	assert.Equal(t, 200, statusOn(t, second))
	other.createTopic("T")

	require.NoError(t, first.Close())

	assert.Eventually(t, func() bool {
		answer, err := a.client.Get(a.url + "/livez")
		if err != nil {
			return false
		}
		return answer.Body.Close() == nil
	}, time.Minute, 10*time.Millisecond, "a connection that is closed makes room")
}

// statusOn makes a request on an open connection and returns the status of the answer.
func statusOn(t *testing.T, conn net.Conn) int {
	t.Helper()
	_, err := fmt.Fprint(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return answer.StatusCode
}

func TestConnections_LongPollsLeaveRoomForOtherCallsWhateverTheFileLimit(t *testing.T) {
	t.Parallel()
	a := startWithFiles(t, 128) // 64 connections, 48 of which may wait; an address has 32
	bystander := a
	bystander.client = clientAt(t, "127.0.0.3")
	bystander.createTopic("T")
	bystander.fill("T", 0, 1)
	c := bystander.register("T", object{"mode": "lease", "start": "first"})
	leased := c.fetch()

	refused := make(chan string, 60)
	for _, local := range []string{"127.0.0.1", "127.0.0.2"} {
		client := clientAt(t, local)
		for range 30 {
			go func() {
				answer, err := client.Get(a.url + path("T", "messages") + "?from=new&wait=50s")
				if err == nil {
					refused <- answer.Status
					_ = answer.Body.Close()
				}
			}()
		}
	}
	for range 60 - 48 {
		assert.Equal(t, "503 Service Unavailable", <-refused)
	}

	bystander.get("/readyz").is(http.StatusOK)
	c.ack(tokensOf(leased)).is(http.StatusNoContent)
	bystander.createTopic("T2")
	bystander.fill("T", 1, 1)
	for range 48 {
		assert.Equal(t, "200 OK", <-refused, "those that were let in wait, and get the message")
	}
}

// startWithFiles starts a broker in a process of its own that may open so many files.
func startWithFiles(t *testing.T, files int) api {
	t.Helper()
	a, _ := startCommand(t, t.TempDir(), exec.CommandContext(t.Context(),
		"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0"`, files), os.Args[0]))
	return a
}
