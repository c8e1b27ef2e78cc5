package transport

import (
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConn_OnHangUpTellsOfAClientThatHangsUp(t *testing.T) {
	t.Parallel()
	l := listen(t, 9)
	client := dial(t, l)
	server := accept(t, l)
	gone := make(chan struct{})
	stop := server.OnHangUp(func() { close(gone) })
	defer stop()

	require.NoError(t, client.Close())

	<-gone
}

func TestConn_OnHangUpLosesNothingOfTheNextRequest(t *testing.T) {
	t.Parallel()
	l := listen(t, 9)
	client := dial(t, l)
	server := accept(t, l)

	stop := server.OnHangUp(func() { t.Error("the client has not hung up") })
	_, err := client.Write([]byte("next request"))
	require.NoError(t, err)
	stop()

	got := make([]byte, len("next request"))
	_, err = io.ReadFull(server, got)
	require.NoError(t, err)
	assert.Equal(t, "next request", string(got))
}

func TestConn_OnHangUpCallsNothingAfterStop(t *testing.T) {
	t.Parallel()
	l := listen(t, 9)
	client := dial(t, l)
	server := accept(t, l)

	server.OnHangUp(func() { t.Error("the watch was stopped") })()

	require.NoError(t, client.Close())
	_, err := server.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF, "the deadline that stopped the watch is gone")
}

func TestConn_FinalWriteDeadlineEndsAWriteThatTheClientDoesNotTake(t *testing.T) {
	t.Parallel()
	l := listen(t, 9)
	dial(t, l) // and reads nothing
	server := accept(t, l)

	server.SetFinalWriteDeadline()
	require.NoError(t, server.SetWriteDeadline(time.Now().Add(time.Hour)), "it is ignored")

	var err error
	for piece := make([]byte, 1<<20); err == nil; {
		_, err = server.Write(piece)
	}
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
}
