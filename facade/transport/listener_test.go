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
	dial(t, l)
	first := accept(t, l)
	dial(t, l)
	accept(t, l)
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
	used := dial(t, l)
	server := accept(t, l)
	_, err := used.Write([]byte("x"))
	require.NoError(t, err)
	_, err = server.Read(make([]byte, 1))
	require.NoError(t, err)

	drained := make(chan struct{})
	go func() {
		l.Drain(context.Background(), time.Hour)
		close(drained)
	}()

	_, err = unused.Read(make([]byte, 1))
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
	used := dial(t, l)
	server := accept(t, l)
	_, err := used.Write([]byte("x"))
	require.NoError(t, err)
	_, err = server.Read(make([]byte, 1))
	require.NoError(t, err)

	l.Drain(t.Context(), time.Millisecond)

	_, err = server.Write([]byte("y"))
	assert.NoError(t, err, "the connection is left open")
}
