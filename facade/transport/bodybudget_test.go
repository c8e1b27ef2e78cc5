package transport

import (
	"math"
	"net"
	"strconv"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

func TestBodyBudget_FitsIntoTheMemoryThatThereIs(t *testing.T) {
	t.Parallel()
	const largest = 16 << 20
	for memory, want := range map[int64][2]int64{ // for small bodies, for large ones
		math.MaxInt64: {64 << 20, 192 << 20},
		512 << 20:     {16 << 20, 48 << 20},
		1:             {smallBody, largest},
	} {
		budget := NewBodyBudget(memory, largest)

		assert.Equal(t, want, [2]int64{budget.small.limit, budget.large.limit}, memory)
		assert.NoError(t, budget.large.take(client{}, largest, 0), "the largest body that is allowed always fits")
		assert.NoError(t, budget.small.take(client{}, smallBody, 0), "so does a small one beside it")
	}
}

func TestBodyBudget_GreedyClientsLeavePartOfItToOthers(t *testing.T) {
	t.Parallel()
	pool := &bodyPool{limit: 1000}

	for n := 1; n <= 9; n++ {
		greedy := client{token: strconv.Itoa(n)}
		for pool.take(greedy, 1, 0) == nil {
		}
	}
	err := pool.take(client{token: "1"}, 1, 0)

	assert.NoError(t, pool.take(client{token: "bystander"}, 1, 0))
	var refused *OverloadedError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "bytes of request bodies from one client", refused.What)

	for who, held := range pool.held {
		pool.give(who, held)
	}
	assert.Zero(t, pool.used)
	assert.Empty(t, pool.held, "no memory is kept for those who hold nothing")
}

func TestBodyBudget_ClientIsATokenOrAnAddress(t *testing.T) {
	t.Parallel()
	from := func(address string, payer Payer) client {
		request := &fasthttp.RequestCtx{}
		remote := &net.TCPAddr{IP: net.ParseIP(address), Port: 1}
		request.Init(&fasthttp.Request{}, remote, nil)
		app := fiber.New()
		c := app.AcquireCtx(request)
		defer app.ReleaseCtx(c)
		return clientOf(c, payer)
	}

	assert.Equal(t, from("192.0.2.1", &payer{}), from("192.0.2.2", &payer{}))
	assert.NotEqual(t, from("192.0.2.1", nil), from("192.0.2.2", nil))
	assert.Equal(t, from("192.0.2.1", nil), from("::ffff:192.0.2.1", nil))
	assert.Equal(t, from("2001:db8::1", nil), from("2001:db8::2", nil), "a host chooses the end of its address")
	assert.NotEqual(t, from("2001:db8::1", nil), from("2001:db8:0:1::1", nil))
}
