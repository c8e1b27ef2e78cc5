package transport

import (
	"context"
	"sync"
	"time"
)

// deadlineContext is a context that ends at a time, as those of
// [context.WithDeadline] do, but starts no timer before somebody waits for its
// end. Most calls are answered without, and then it costs a tenth.
type deadlineContext struct {
	deadline time.Time

	mu    sync.Mutex
	timed context.Context // nil until somebody waits
	stop  context.CancelFunc
}

// withTimeout returns a context that ends after timeout. Stop frees what it
// holds; it does not end it.
func WithTimeout(timeout time.Duration) *deadlineContext {
	return &deadlineContext{deadline: time.Now().Add(timeout)}
}

func (d *deadlineContext) Free() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		d.stop()
	}
}

func (d *deadlineContext) Deadline() (time.Time, bool) { return d.deadline, true }

func (d *deadlineContext) Value(any) any { return nil }

func (d *deadlineContext) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.stop = context.WithDeadline(context.Background(), d.deadline)
	}
	return d.timed.Done()
}

func (d *deadlineContext) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed != nil {
		return d.timed.Err()
	}
	if time.Now().Before(d.deadline) {
		return nil
	}
	return context.DeadlineExceeded
}
