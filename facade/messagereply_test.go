package facade

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/transport"
	"dq/jetstream"
)

func TestMessageReply_LargeAnswerHoldsItsMemoryUntilItIsSent(t *testing.T) {
	t.Parallel()
	budget := newAnswerBudget(100, 1)
	release, err := budget.acquire(t.Context(), 1000)
	require.NoError(t, err)
	list := &messageReply{release: release}
	require.NoError(t, list.add(viewMessage(jetstream.Message{Data: []byte(strings.Repeat("x", 2*pieceBytes))})))
	c := newRequest(t, nil, nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()

	require.NoError(t, list.write(c))
	_, refused := budget.acquire(ended, 1)
	require.NoError(t, c.Response().Write(bufio.NewWriter(io.Discard)))
	_, err = budget.acquire(t.Context(), 100)

	assert.Equal(t, &transport.OverloadedError{What: "bytes of answers", Limit: 100}, refused)
	assert.NoError(t, err)
}

func TestMessageReply_AnswerThatIsNotTakenIsCutOffForAnother(t *testing.T) {
	t.Parallel()
	budget := newAnswerBudget(100, 1)
	release, err := budget.acquire(t.Context(), 100)
	require.NoError(t, err)
	list := &messageReply{release: release, budget: budget}
	list.transfer = budget.transfers.Begin(func() { go func() { _ = list.Close() }() }) // as the HTTP server does

	release, err = budget.acquire(t.Context(), 1)

	require.NoError(t, err)
	release()
}
