package transport

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// stepTime is how long a transfer may take for one step while others wait for memory.
	stepTime = 2 * time.Second

	// paceCheck is how often waiters look for a transfer that is too slow.
	paceCheck = 100 * time.Millisecond
)

// Transfers are the bodies or the answers under way that share a memory budget. While others wait for memory of the
// budget, a transfer that moves less than Step bytes in two seconds is ended. Its methods are safe for concurrent use.
type Transfers struct {
	Step int // bytes

	mu      sync.Mutex
	all     map[*Transfer]bool
	checked time.Time

	waiters int           // calls of Hurry that are not done
	done    chan struct{} // closed when none is left
}

// A Transfer is one body or answer under way. The methods of a nil Transfer do nothing.
type Transfer struct {
	group   *Transfers
	stop    func()
	stopped chan struct{} // closed when it was too slow

	step  int          // bytes that moved since began; only the goroutine that moves them uses it
	began atomic.Int64 // when the present step began, in nanoseconds
}

// Begin returns a transfer that is under way until End. If it has to end early, because it is too slow, stop is called.
func (g *Transfers) Begin(stop func()) *Transfer {
	t := &Transfer{stop: stop, stopped: make(chan struct{})}
	t.restart()
	t.join(g)
	return t
}

// join adds t to a group, unless t was too slow in its earlier group.
func (t *Transfer) join(g *Transfers) {
	if t.wasTooSlow() {
		return
	}
	t.group = g
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = make(map[*Transfer]bool)
	}
	g.all[t] = true
}

// End takes t out of its group. After that, stop is not called.
func (t *Transfer) End() {
	if t == nil {
		return
	}
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	delete(t.group.all, t)
}

// Moved records that n more bytes were received or sent.
func (t *Transfer) Moved(n int) {
	if t == nil {
		return
	}
	if t.step += n; t.step >= t.group.Step {
		t.restart()
	}
}

// restart begins a new step.
func (t *Transfer) restart() {
	t.step = 0
	t.began.Store(time.Now().UnixNano())
}

// tooSlow returns a channel that is closed when t has been ended because it was too slow.
func (t *Transfer) tooSlow() <-chan struct{} {
	if t == nil {
		return nil
	}
	return t.stopped
}

// wasTooSlow reports whether t has been ended because it was too slow.
func (t *Transfer) wasTooSlow() bool {
	select {
	case <-t.tooSlow():
		return true
	default:
		return false
	}
}

// Hurry ends transfers that are too slow, one after the other, until done is called. Call it while somebody waits for
// memory.
func (g *Transfers) Hurry() (done func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiters++; g.waiters == 1 {
		g.done = make(chan struct{})
		go g.stopSlow(g.done)
	}

	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.waiters--; g.waiters == 0 {
			close(g.done)
		}
	}
}

// stopSlow ends one transfer after the other that is too slow, until done is closed.
func (g *Transfers) stopSlow(done <-chan struct{}) {
	ticks := time.NewTicker(paceCheck)
	defer ticks.Stop()
	for {
		select {
		case now := <-ticks.C:
			g.stopSlowest(now)
		case <-done:
			return
		}
	}
}

// stopSlowest ends the transfer whose present step has taken the longest, if that is longer than stepTime.
func (g *Transfers) stopSlowest(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.checked) < paceCheck/2 {
		return
	}
	g.checked = now

	var slowest *Transfer
	oldest := now.Add(-stepTime).UnixNano()
	for t := range g.all {
		if began := t.began.Load(); began <= oldest {
			slowest, oldest = t, began
		}
	}
	if slowest != nil {
		delete(g.all, slowest)
		close(slowest.stopped)
		slowest.stop()
	}
}

// SlowBodyError is a body that came in so slowly that it was refused, because others waited for its memory.
type SlowBodyError struct{}

func (*SlowBodyError) Error() string {
	return "the body arrived too slowly while others waited for the memory that it takes; " +
		"nothing was done, try again later"
}
