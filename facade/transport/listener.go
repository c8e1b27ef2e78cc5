package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// hurryTime is how long the broker waits, when it stops, for a client to take
// the rest of a stream.
const hurryTime = time.Second

// listener knows the connections that are open. The HTTP server would close
// those that wait for a request the moment it shuts down, under the hands of
// clients that are just sending one, and wait for the first request of those on
// which nothing has come yet.
type Listener struct {
	net.Listener
	limit int // of open connections

	mu      sync.Mutex
	open    map[*Conn]bool // true once a byte has come
	closing bool
	empty   chan struct{} // closed when closing and nothing is open

	closeOnce sync.Once
	closeErr  error
}

func NewListener(l net.Listener, limit int) *Listener {
	return &Listener{Listener: l, limit: limit, open: make(map[*Conn]bool), empty: make(chan struct{})}
}

func (l *Listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		switch {
		case err != nil && passing(err):
			time.Sleep(acceptPause) // the HTTP server would end
		case err != nil:
			return nil, err
		default:
			if c := l.admit(nc); c != nil {
				return c, nil
			}
			// Without an answer: of those that old clients understand none fits.
			_ = nc.Close()
		}
	}
}

// admit takes a connection in, or returns nil if there are too many.
func (l *Listener) admit(nc net.Conn) *Conn {
	c := &Conn{Conn: nc, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closing:
		_ = nc.Close()
	case len(l.open) >= l.limit:
		return nil
	default:
		l.open[c] = false
	}
	return c
}

// acceptPause is that before a connection is accepted when the last could not be.
const acceptPause = 20 * time.Millisecond

// passing reports whether err is one that goes away by itself: no file
// descriptor or memory was left, or the client had gone already.
func passing(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Close stops the listener. Both drain and the HTTP server do it.
func (l *Listener) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.Listener.Close() })
	return l.closeErr
}

// drain takes no more connections, closes those on which nothing has come, and
// waits until the clients have closed the others, but not longer than wait.
func (l *Listener) Drain(ctx context.Context, wait time.Duration) {
	_ = l.Close()
	l.mu.Lock()
	l.closing = true
	for c, heard := range l.open {
		if !heard {
			_ = c.Conn.Close()
			delete(l.open, c)
		}
	}
	if len(l.open) == 0 {
		close(l.empty)
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	select {
	case <-l.empty:
	case <-ctx.Done():
	}
}

func (l *Listener) heard(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[c]; ok {
		l.open[c] = true
	}
}

func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[c]; !ok {
		return
	}
	delete(l.open, c)
	if l.closing && len(l.open) == 0 {
		close(l.empty)
	}
}

// conn is a connection of a client.
type Conn struct {
	net.Conn
	listener *Listener
	heard    bool      // only the goroutine that reads uses it
	ended    bool      // the same: the client sends nothing any more
	early    []byte    // read by watch before the server asked for it
	moved    time.Time // when the deadline for writing was moved

	deadline sync.Mutex // held while the one for writing is moved
	hurried  bool
}

func (c *Conn) Read(p []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if n > 0 && !c.heard {
		c.heard = true
		c.listener.heard(c)
	}
	if n > 0 && err == io.EOF { // as TLS does; it comes again
		return n, nil
	}
	c.ended = c.ended || err == io.EOF
	return n, err
}

// Write gives the client a time for each piece of an answer rather than one for
// the whole: a stream has no end. The deadline is moved now and then only, which
// is cheaper than each time.
func (c *Conn) Write(p []byte) (int, error) {
	if now := time.Now(); now.Sub(c.moved) > TransferTimeout/10 {
		c.moved = now
		if err := c.SetWriteDeadline(now.Add(TransferTimeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	if c.hurried {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// hurry gives the client hurryTime to take what is being written: the broker
// does not wait for a reader that has stopped.
func (c *Conn) Hurry() {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	c.hurried = true
	_ = c.Conn.SetWriteDeadline(time.Now().Add(hurryTime))
}

// watch calls gone when the client hangs up while its request is being worked
// on. The server does not read then. It ends with stop.
func (c *Conn) Watch(gone func()) (stop func()) {
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		gone()
		return func() {}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var one [1]byte
		n, err := c.Conn.Read(one[:])
		if n > 0 {
			c.early = one[:n] // the next request: the client is there
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			gone()
		}
	}()
	return func() {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // ends the read
		<-ended
		_ = c.SetReadDeadline(time.Time{})
	}
}

func (c *Conn) Close() error {
	c.listener.forget(c)
	return c.Conn.Close()
}
