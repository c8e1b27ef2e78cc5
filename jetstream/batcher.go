package jetstream

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// maxBatch is the most items that a batcher publishes together.
	maxBatch = 1000

	// topicBatches is how many batches of a topic are under way at once: others
	// are sent while the engine works on the first.
	topicBatches = 3
)

// A batcher publishes items of concurrent calls to one stream together. While the
// engine works on earlier batches, new items wait for the next batch: many items cost
// little more than one. An item that comes alone is published at once.
type batcher[T any] struct {
	publish    func(ctx context.Context, items ...T) []publishAnswer // one answer for each item
	timeout    time.Duration                                         // of one batch
	maxBatches int                                                   // under way at once

	mu      sync.Mutex
	batches int // under way
	waiting []*waiter[T]
}

// waiter is one call of submit.
type waiter[T any] struct {
	item   T
	woken  chan struct{} // gets one value when answer is set, or lead is
	lead   bool          // the waiter publishes the next batch itself
	answer publishAnswer
}

// submit publishes item, which must not change any more, and returns the engine's
// answer. If few enough batches are under way, the calling goroutine publishes a batch
// itself. Otherwise it waits until another one has published its item, or lets it
// publish the next batch.
func (b *batcher[T]) submit(ctx context.Context, item T) publishAnswer {
	w := &waiter[T]{item: item, woken: make(chan struct{}, 1)}

	b.mu.Lock()
	if b.batches == b.maxBatches {
		b.waiting = append(b.waiting, w)
		b.mu.Unlock()

		<-w.woken // in bounded time: each batch has a deadline
		if !w.lead {
			return w.answer
		}
	} else {
		b.batches++
		b.mu.Unlock()
	}

	runtime.Gosched() // calls that are just arriving can still join the batch

	b.mu.Lock()
	batch := append([]*waiter[T]{w}, b.take(maxBatch-1)...)
	b.mu.Unlock()

	b.publishBatch(ctx, batch)
	return w.answer
}

// take removes at most n waiters from the queue and returns them. The caller
// holds the lock.
func (b *batcher[T]) take(n int) []*waiter[T] {
	n = min(n, len(b.waiting))
	taken := b.waiting[:n:n]
	b.waiting = b.waiting[n:]
	if len(b.waiting) == 0 {
		b.waiting = nil
	}
	return taken
}

// publishBatch publishes the items of batch, the first of which is the caller's
// own, and leaves the next batch to the first waiter.
func (b *batcher[T]) publishBatch(ctx context.Context, batch []*waiter[T]) {
	items := make([]T, len(batch))
	for i, w := range batch {
		items[i] = w.item
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.timeout)
	answers := b.publish(ctx, items...)
	cancel()

	// The next batch goes out before the waiters of this one are woken.
	b.mu.Lock()
	if next := b.take(1); len(next) == 1 {
		next[0].lead = true
		next[0].woken <- struct{}{}
	} else {
		b.batches--
	}
	b.mu.Unlock()

	batch[0].answer = answers[0]
	for i, w := range batch[1:] {
		w.answer = answers[i+1]
		w.woken <- struct{}{}
	}
}

// batcher returns the batcher of a topic.
func (t *Topics) batcher(topic string) *batcher[*nats.Msg] {
	if b, ok := t.batchers.Load(topic); ok {
		return b.(*batcher[*nats.Msg])
	}
	b, _ := t.batchers.LoadOrStore(topic, t.newBatcher())
	return b.(*batcher[*nats.Msg])
}

func (t *Topics) newBatcher() *batcher[*nats.Msg] {
	return &batcher[*nats.Msg]{publish: t.publisher.publish, timeout: t.opts.CallTimeout, maxBatches: topicBatches}
}
