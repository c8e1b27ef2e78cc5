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

func TestReadMemory_SmallReadsPassLargeOnesThatFillTheirPart(t *testing.T) {
	t.Parallel()
	budget := newReadBudget(4 << 20)
	large := &readHold{budget: budget, ctx: t.Context()}
	require.NoError(t, large.Take(1<<20, true))
	ended, cancel := context.WithCancel(t.Context())
	cancel()

	refused := (&readHold{budget: budget, ctx: ended}).Take(1<<20, true)
	small := (&readHold{budget: budget, ctx: ended}).Take(smallRead, true)
	unknown := (&readHold{budget: budget, ctx: ended}).Take(smallRead+1, false)
	large.Give()
	again := (&readHold{budget: budget, ctx: ended}).Take(1<<20, true)

	assert.Equal(t, &transport.OverloadedError{What: "bytes of answers", Limit: 2 << 20}, refused)
	assert.NoError(t, small)
	assert.NoError(t, unknown, "a topic that was never read is taken for a small one, once")
	assert.NoError(t, again)
}

func TestReadMemory_LargeAnswerHoldsItsSizeUntilItIsSent(t *testing.T) {
	t.Parallel()
	const limit, size = 2 << 20, 100_000
	for name, answer := range map[string]func(*readHold) response{
		"classic": func(h *readHold) response { return &classicText{[]byte(strings.Repeat("x", size)), h} },
		"raw": func(h *readHold) response {
			return &rawMessage{jetstream.Delivery{Message: jetstream.Message{Data: make([]byte, size)}}, h}
		},
		"JSON": func(h *readHold) response { return &heldReply[string]{strings.Repeat("x", size), h} },
	} {
		budget := newReadBudget(limit)
		hold := &readHold{budget: budget, ctx: t.Context()}
		require.NoError(t, hold.Take(size, true))
		pool, c := hold.pool, newRequest(t, nil, nil)

		require.NoError(t, answer(hold).write(c))
		held := hold.bytes
		_, whole := pool.tryTake(pool.limit)
		require.NoError(t, c.Response().Write(bufio.NewWriter(io.Discard)))
		_, free := pool.tryTake(pool.limit)

		assert.GreaterOrEqual(t, held, int64(size), name)
		assert.Less(t, held, int64(2*size)+pieceBytes, "%s: what it took to encode it is given back", name)
		assert.False(t, whole, name)
		assert.True(t, free, name)
	}
}

func TestReadMemory_StreamThatIsNotReadIsCutOffForAnother(t *testing.T) {
	t.Parallel()
	budget := newReadBudget(4 << 20)
	stalled := &readHold{budget: budget, ctx: t.Context()}
	require.NoError(t, stalled.Take(1<<20, true))
	stalled.transfer = stalled.pool.transfers.Begin(func() { go stalled.Give() }) // as the end of its connection does

	err := (&readHold{budget: budget, ctx: t.Context()}).Take(1<<20, true)

	assert.NoError(t, err)
}
