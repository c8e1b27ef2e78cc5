package transport

import (
	"container/list"
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// acceptPause is how long the listener waits after it failed to accept a connection.
const acceptPause = 20 * time.Millisecond

// A Listener accepts connections and tracks those that are open. The shutdown of the
// HTTP server alone has two faults that a Listener mends: it closes connections that
// wait for a request at once, although a client may be sending one at that moment, and
// it waits for the first request of connections on which nothing has come yet.
type Listener struct {
	net.Listener
	limits ConnectionLimits

	mu      sync.Mutex
	open    map[*Conn]bool // true once a byte has come
	waiting list.List      // the *Conn that wait for a request, first the one that has waited longest
	clients clientCounts
	closing bool
	empty   chan struct{} // closed when closing and nothing is open

	closeOnce sync.Once
	closeErr  error
}

// NewListener returns a listener that accepts connections from l, as many at once as limits allow.
func NewListener(l net.Listener, limits ConnectionLimits) *Listener {
	return &Listener{
		Listener: l,
		limits:   limits,
		open:     make(map[*Conn]bool),
		clients:  make(clientCounts),
		empty:    make(chan struct{}),
	}
}

// Accept implements [net.Listener]. If as many are open as may be, it closes the one that has waited longest for a
// request or, if none waits, the new one. It also closes a new connection whose client has as many as one client may
// have.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		switch {
		case err != nil && temporary(err):
			time.Sleep(acceptPause) // the HTTP server would stop at the error
		case err != nil:
			return nil, err
		default:
			if c := l.add(nc); c != nil {
				return c, nil
			}
			// Without an answer: old clients would understand none that fits.
			_ = nc.Close()
		}
	}
}

// add tracks a connection, or returns nil if too many are open.
func (l *Listener) add(nc net.Conn) *Conn {
	c := &Conn{Conn: nc, listener: l, client: ClientOf(nc.RemoteAddr())}
	l.mu.Lock()
	defer l.mu.Unlock()

	switch {
	case l.closing:
		_ = nc.Close()
	case !l.clients.add(c.client, &l.limits):
		return nil
	case len(l.open) >= l.limits.All && !l.closeWaiting():
		l.clients.remove(c.client)
		return nil
	default:
		l.open[c] = false
		c.waiting = l.waiting.PushBack(c)
	}
	return c
}

// closeWaiting closes the connection that has waited longest for a request. It reports whether there was one. The
// caller holds the lock.
func (l *Listener) closeWaiting() bool {
	longest := l.waiting.Front()
	if longest == nil {
		return false
	}
	c := longest.Value.(*Conn)
	l.forget(c)
	go func() { _ = c.Conn.Close() }() // with TLS it may wait for the client
	return true
}

// TrackState implements the hook of the HTTP server for the states of connections.
func (l *Listener) TrackState(nc net.Conn, state fasthttp.ConnState) {
	c, ok := nc.(*Conn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()

	_, open := l.open[c]
	switch {
	case state == fasthttp.StateActive:
		l.endWait(c)
	case state == fasthttp.StateIdle && open:
		c.waiting = l.waiting.PushBack(c)
	}
}

// endWait removes c from the list of those that wait for a request. The caller holds the lock.
func (l *Listener) endWait(c *Conn) {
	if c.waiting != nil {
		l.waiting.Remove(c.waiting)
		c.waiting = nil
	}
}

// temporary reports whether err goes away by itself: the process has no file
// descriptor or memory left, or the client has hung up already.
func temporary(err error) bool {
	errnos := []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED,
	}
	for _, e := range errnos {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Close implements [net.Listener]. Later calls return what the first one returned.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.Listener.Close() })
	return l.closeErr
}

// Drain accepts no more connections, closes those on which nothing has come, and
// waits until the clients have closed the others, until ctx ends, or for wait.
func (l *Listener) Drain(ctx context.Context, wait time.Duration) {
	_ = l.Close()
	l.closeUnused()

	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-l.empty:
	case <-ctx.Done():
		l.stopReading()
	}
}

// stopReading ends what the server still reads: who has sent half a request is not waited for.
func (l *Listener) stopReading() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.stopReading()
	}
}

// closeUnused closes the connections on which nothing has come, and any that is still
// accepted from now on.
func (l *Listener) closeUnused() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	for c, received := range l.open {
		if !received {
			_ = c.Conn.Close()
			l.forget(c)
		}
	}
	if len(l.open) == 0 {
		close(l.empty)
	}
}

// setReceived records that a byte has come on c.
func (l *Listener) setReceived(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[c]; ok {
		l.open[c] = true
		l.endWait(c)
	}
}

// remove records that c is closed.
func (l *Listener) remove(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[c]; !ok {
		return
	}
	l.forget(c)
	if l.closing && len(l.open) == 0 {
		close(l.empty)
	}
}

// forget takes c out of what is open. The caller holds the lock.
func (l *Listener) forget(c *Conn) {
	delete(l.open, c)
	l.endWait(c)
	l.clients.remove(c.client)
}
