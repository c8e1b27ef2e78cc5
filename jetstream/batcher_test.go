package jetstream

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// answerAll answers each item with itself as the sequence.
func answerAll(items []uint64) []publishAnswer {
	answers := make([]publishAnswer, len(items))
	for i, item := range items {
		answers[i].sequence = item
	}
	return answers
}

func TestBatcher_ItemsThatWaitArePublishedTogether(t *testing.T) {
	t.Parallel()
	var batches [][]uint64
	publishing, release := make(chan struct{}, 2), make(chan struct{})
	b := &batcher[uint64]{timeout: time.Minute, maxBatches: 1}
	b.publish = func(_ context.Context, items ...uint64) []publishAnswer {
		batches = append(batches, items) // one batch at a time
		publishing <- struct{}{}
		<-release
		return answerAll(items)
	}
	waiting := func(n int) func() bool {
		return func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.batches == 1 && len(b.waiting) == n
		}
	}
	var calls sync.WaitGroup
	submit := func(item uint64) {
		calls.Go(func() { assert.Equal(t, item, b.submit(t.Context(), item).sequence) })
	}

	submit(1)
	<-publishing
	for item := range uint64(5) {
		submit(2 + item)
	}
	require.Eventually(t, waiting(5), time.Minute, time.Millisecond)
	close(release)
	calls.Wait()

	require.Len(t, batches, 2)
	assert.Equal(t, []uint64{1}, batches[0])
	assert.ElementsMatch(t, []uint64{2, 3, 4, 5, 6}, batches[1])
	assert.Zero(t, b.batches)
}

func TestBatcher_BatchOutlivesTheCallThatPublishesIt(t *testing.T) {
	t.Parallel()
	b := &batcher[uint64]{timeout: time.Minute, maxBatches: 1}
	b.publish = func(ctx context.Context, items ...uint64) []publishAnswer {
		answers := answerAll(items)
		answers[0].err = ctx.Err()
		return answers
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()

	answer := b.submit(ended, 1)

	assert.Equal(t, publishAnswer{sequence: 1}, answer)
}

func TestBatcher_BatchHasADeadline(t *testing.T) {
	t.Parallel()
	b := &batcher[uint64]{timeout: time.Millisecond, maxBatches: 1}
	b.publish = func(ctx context.Context, items ...uint64) []publishAnswer {
		<-ctx.Done()
		return []publishAnswer{{err: ctx.Err()}}
	}

	answer := b.submit(t.Context(), 1)

	assert.True(t, errors.Is(answer.err, context.DeadlineExceeded))
}
