package facade

import (
	"net"
	"sync"
)

// listener knows the connections on which no byte has come yet. Many clients
// open more connections than they use, and the HTTP server would wait for the
// first request of each before it ends.
type listener struct {
	net.Listener

	mu      sync.Mutex
	silent  map[*conn]bool
	closing bool
}

func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, listener: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		_ = nc.Close()
	} else {
		l.silent[c] = true
	}
	return c, nil
}

// closeSilent closes the connections on which nothing has come.
func (l *listener) closeSilent() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	for c := range l.silent {
		_ = c.Conn.Close()
	}
	clear(l.silent)
}

func (l *listener) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.silent, c)
}

type conn struct {
	net.Conn
	listener *listener
	heard    bool // only the goroutine that reads uses it
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.heard {
		c.heard = true
		c.listener.forget(c)
	}
	return n, err
}

func (c *conn) Close() error {
	c.listener.forget(c)
	return c.Conn.Close()
}
