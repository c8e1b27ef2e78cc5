package transport

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestTransfers_SlowestIsEndedFirstAndThoseThatMoveAreLeftAlone(t *testing.T) {
	t.Parallel()
	group := &Transfers{Step: 10}
	var ended []string
	begin := func(name string, began time.Time) *Transfer {
		transfer := group.Begin(func() { ended = append(ended, name) })
		transfer.began.Store(began.UnixNano())
		return transfer
	}
	now := time.Now()
	slow := begin("slow", now.Add(-2*stepTime))
	begin("slower", now.Add(-3*stepTime))
	begin("done", now.Add(-4*stepTime)).End()
	moves := begin("moves", now.Add(-5*stepTime))
	moves.Moved(4)
	moves.Moved(6)

	group.stopSlowest(now)
	group.stopSlowest(now) // a second waiter, at the same time
	assert.Equal(t, []string{"slower"}, ended)
	assert.False(t, slow.wasTooSlow())

	group.stopSlowest(now.Add(paceCheck))
	group.stopSlowest(now.Add(2 * paceCheck))
	assert.Equal(t, []string{"slower", "slow"}, ended)
	assert.True(t, slow.wasTooSlow())

	slow.End()
	slow.join(&Transfers{})
	group.stopSlowest(now.Add(2 * stepTime))
	assert.Equal(t, []string{"slower", "slow", "moves"}, ended, "it has not moved since")
}
