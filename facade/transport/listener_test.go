package transport

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// patience is how long a test waits for what ought to happen at once.
const patience = 20 * time.Second

// listen returns a listener for at most limit connections.
func listen(t *testing.T, limit int) *Listener {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := NewListener(inner, ConnectionLimits{All: limit})
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// dial connects to l as a client does.
func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

// accept returns the next connection that l accepts.
func accept(t *testing.T, l *Listener) *Conn {
	t.Helper()
	nc, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.IsType(t, new(Conn), nc)
	return nc.(*Conn)
}

func TestListener_ClosesConnectionsAboveItsLimit(t *testing.T) {
	t.Parallel()
	l := listen(t, 2)
	first, _ := busy(t, l)
	busy(t, l)
	third := dial(t, l)

	accepted := make(chan net.Conn)
	go func() {
		nc, _ := l.Accept()
		accepted <- nc
	}()
	_, err := third.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF, "closed without an answer")

	require.NoError(t, first.Close())
	dial(t, l)
	assert.NotNil(t, <-accepted, "one that was closed leaves room")
}

// busy returns a connection on which a request has begun, and the client's side of it.
func busy(t *testing.T, l *Listener) (server *Conn, client net.Conn) {
	t.Helper()
	client = dial(t, l)
	server = accept(t, l)
	_, err := client.Write([]byte("x"))
	require.NoError(t, err)
	_, err = server.Read(make([]byte, 1))
	require.NoError(t, err)
	return server, client
}

func TestListener_MakesRoomByClosingWhatHasWaitedLongest(t *testing.T) {
	t.Parallel()
	l := listen(t, 3)
	first, firstClient := busy(t, l)
	second, secondClient := busy(t, l)
	busy(t, l)
	l.TrackState(second, fasthttp.StateIdle)
	l.TrackState(first, fasthttp.StateIdle)
	l.TrackState(first, fasthttp.StateActive) // its next request
	l.TrackState(first, fasthttp.StateIdle)

	dial(t, l)
	accept(t, l)
	_, err := secondClient.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)

	dial(t, l)
	accept(t, l)
	_, err = firstClient.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)

	dial(t, l)
	accept(t, l)
	assert.Len(t, l.open, 3, "a new one that has sent nothing waits as well")
}

func TestListener_WaitsOutErrorsThatPass(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := NewListener(&failingListener{Listener: inner, errs: []error{syscall.EMFILE, syscall.ECONNABORTED}},
		ConnectionLimits{All: 2})
	dial(t, l)

	accept(t, l)

	require.NoError(t, l.Close())
	require.NoError(t, l.Close(), "a further call returns what the first returned")
	_, err = l.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
}

// failingListener fails to accept before it accepts.
type failingListener struct {
	net.Listener
	errs []error
}

func (l *failingListener) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return l.Listener.Accept()
}

func TestListener_DrainClosesUnusedConnectionsAndWaitsForOthers(t *testing.T) {
	t.Parallel()
	l := listen(t, 9)
	unused := dial(t, l)
	accept(t, l)
	server, _ := busy(t, l)

	drained := make(chan struct{})
	go func() {
		l.Drain(context.Background(), time.Hour)
		close(drained)
	}()

	_, err := unused.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
	select {
	case <-drained:
		t.Error("a connection is open still")
	default:
	}
	require.NoError(t, server.Close())
	<-drained
}

func TestListener_DrainWaitsNoLongerThanItMay(t *testing.T) {
	t.Parallel()
	l := listen(t, 9)
	server, _ := busy(t, l)

	l.Drain(t.Context(), time.Millisecond)

	_, err := server.Write([]byte("y"))
	assert.NoError(t, err, "the connection is left open")
}
