package transport

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLimits_BodyHasRoomForAnEscapedMessage(t *testing.T) {
	t.Parallel()
	assert.Equal(t, 16<<20, MaxBody(1), "room for a batch")
	assert.Equal(t, 6*(8<<20)+64<<10, MaxBody(8<<20))
}

func TestLimits_ConnectionsLeaveFilesToTheEngine(t *testing.T) {
	t.Parallel()
	for files, want := range map[int]int{
		0:       16 << 10, // unknown
		1:       1,
		1024:    512,
		16384:   8192,
		20000:   20000 - 8192,
		1 << 30: 16 << 10,
	} {
		assert.Equal(t, want, MaxConnections(files), files)
	}
	for files, want := range map[int]int64{0: 12 << 10, 1024: 384, 64: 24} {
		assert.Equal(t, want, MaxWaitingCalls(MaxConnections(files)), "there is room for other calls")
	}
	assert.GreaterOrEqual(t, MaxOpenFiles(), 0)
}

func TestBudget_RefusesMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	budget := Budget{What: "calls that wait", Limit: 3}

	release, err := budget.Acquire(2)
	require.NoError(t, err)
	_, err = budget.Acquire(2)

	assert.Equal(t, &OverloadedError{What: "calls that wait", Limit: 3}, err)
	assert.EqualError(t, err,
		"the broker has all it can take: more than 3 calls that wait; nothing was done, try again later")
	_, err = budget.Acquire(1)
	assert.NoError(t, err, "what was refused took nothing")
	release()
	_, err = budget.Acquire(2)
	assert.NoError(t, err, "what was released is free")
}

func TestBudget_IsNeverExceededByConcurrentCallers(t *testing.T) {
	t.Parallel()
	budget := Budget{What: "calls", Limit: 5}

	var inUse atomic.Int64
	var running sync.WaitGroup
	for range 20 {
		running.Go(func() {
			for range 100 {
				release, err := budget.Acquire(1)
				if err != nil {
					continue
				}
				assert.LessOrEqual(t, inUse.Add(1), int64(5))
				inUse.Add(-1)
				release()
			}
		})
	}
	running.Wait()

	_, err := budget.Acquire(5)
	assert.NoError(t, err, "all was released")
}
