package transport

import (
	"container/list"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// finalWriteTime is how long a broker that stops waits for a client to read the rest
// of a stream.
const finalWriteTime = time.Second

// A Conn is a connection of a client.
type Conn struct {
	net.Conn
	listener *Listener
	client   string // which client it is, for the limits

	waiting *list.Element // in the listener's list of those that wait for a request; nil if it does not wait

	// Only the goroutine that reads uses these.
	received bool   // a byte was read
	unread   []byte // what OnHangUp read; the server reads it first
	line     requestLine

	// Only the goroutine that writes uses this.
	extended time.Time // when the write deadline was last extended

	readDeadline sync.Mutex // held while the read deadline is set
	readsNoMore  bool       // the read deadline has passed for good

	writeDeadline sync.Mutex // held while the write deadline is set
	final         bool       // the write deadline may not be set any more
}

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	c.line.see(p[:n], len(p) == 1)
	return n, err
}

func (c *Conn) read(p []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}

	n, err := c.Conn.Read(p)
	if n > 0 && !c.received {
		c.received = true
		c.listener.setReceived(c)
	}
	answerPlainHTTP(err)
	return n, err
}

// answerPlainHTTP tells a client that sent plain HTTP to the TLS port what to do instead.
func answerPlainHTTP(err error) {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || record.Conn == nil {
		return
	}

	switch string(record.RecordHeader[:]) { // the beginning of a request line
	case "GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO":
		const answer = "this port speaks https: use https:// in the address"
		_, _ = fmt.Fprintf(record.Conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"+
			"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s\n", len(answer)+1, answer)
	}
}

// Write implements [net.Conn]. Its deadline is for each piece of an answer instead of
// for the whole answer, because a stream has no end. It extends the deadline only now
// and then, which is cheaper than each time.
func (c *Conn) Write(p []byte) (int, error) {
	if now := time.Now(); now.Sub(c.extended) > TransferTimeout/10 {
		c.extended = now
		if err := c.SetWriteDeadline(now.Add(TransferTimeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// SetReadDeadline implements [net.Conn]. After the broker has stopped reading it does nothing.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readDeadline.Lock()
	defer c.readDeadline.Unlock()
	if c.readsNoMore {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// stopReading has every read of this connection fail, the one under way too.
func (c *Conn) stopReading() {
	c.readDeadline.Lock()
	defer c.readDeadline.Unlock()
	c.readsNoMore = true
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
}

// SetWriteDeadline implements [net.Conn]. After SetFinalWriteDeadline it does
// nothing.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeDeadline.Lock()
	defer c.writeDeadline.Unlock()
	if c.final {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetFinalWriteDeadline gives the client one last second to read what is being
// written: a broker that stops does not wait for a client that has stopped reading.
func (c *Conn) SetFinalWriteDeadline() {
	c.writeDeadline.Lock()
	defer c.writeDeadline.Unlock()
	c.final = true
	_ = c.Conn.SetWriteDeadline(time.Now().Add(finalWriteTime))
}

// StopWriting makes every write of this connection fail, also the one under way.
func (c *Conn) StopWriting() {
	c.writeDeadline.Lock()
	defer c.writeDeadline.Unlock()
	c.final = true
	_ = c.Conn.SetWriteDeadline(time.Unix(1, 0))
}

// OnHangUp calls f when the client hangs up while its request is being handled; at
// that time the server does not read from the connection. The caller must call stop
// before the server reads again; f is not called after stop has returned.
func (c *Conn) OnHangUp(f func()) (stop func()) {
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		f()
		return func() {}
	}

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var one [1]byte
		n, err := c.Conn.Read(one[:])
		if n > 0 {
			c.unread = one[:n] // the next request: the client has not hung up
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			f()
		}
	}()

	return func() {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // ends the read
		<-ended
		_ = c.SetReadDeadline(time.Time{})
	}
}

// Close implements [net.Conn].
func (c *Conn) Close() error {
	c.listener.remove(c)
	return c.Conn.Close()
}
