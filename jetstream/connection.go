package jetstream

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"
)

// A connection tells when a connection to the engine is cut off.
type connection struct {
	mu  sync.Mutex
	ctx context.Context // ends when it is cut off the next time
	end context.CancelFunc
}

// watchConnection watches nc until it is closed.
func watchConnection(nc *nats.Conn) *connection {
	c := new(connection)
	c.renew()
	changes := nc.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	go func() {
		defer nc.RemoveStatusListener(changes)
		for status := range changes {
			end := c.end
			if status == nats.CLOSED {
				end()
				return
			}
			c.renew()
			end()
		}
	}()
	return c
}

// renew begins the time until the connection is cut off the next time.
func (c *connection) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx, c.end = context.WithCancel(context.Background())
}

// uncut returns a context that ends when the connection is cut off, or closed.
func (c *connection) uncut() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ctx
}
