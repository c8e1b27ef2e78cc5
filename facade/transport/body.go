package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"
)

// drainLimit is how much of a refused body is read and thrown away, so that the
// client can read the answer instead of finding its connection reset.
const drainLimit = 64 << 20

const (
	// firstRead is how much is read of a body before more memory is taken for it. The HTTP server has read so much
	// of a body with a length before it calls ReadBody, so nearly all bodies are read at once.
	firstRead = 8 << 10

	// growth is how many times as large the buffer of a body becomes when it is full.
	growth = 4
)

// A Payer is the holder of a token who sends a body and may send only so many bytes a second.
type Payer interface {
	Name() string
	Charge(bytes int)
}

// ReadBody returns a handler that reads the body of a request before any other handler
// looks at it: bytes left unread would be taken for the next request on the
// connection. A body may have limit bytes; budget bounds the bytes of all bodies
// that are being handled. It is charged as bytes arrive, and so is the payer of the
// request, who is nil if it came without a token.
//
// Errors: [*BodyTooLargeError], [*UnsupportedEncodingError], [*OverloadedError],
// and a [*fiber.Error] if the body breaks a rule of HTTP or ends early.
func ReadBody(budget *BodyBudget, limit int, payerOf func(*fiber.Ctx) Payer) fiber.Handler {
	return func(c *fiber.Ctx) error {
		stream := c.Request().BodyStream()
		if stream == nil {
			return c.Next()
		}

		payer := payerOf(c)
		r := bodyReader{
			stream:  stream,
			length:  c.Request().Header.ContentLength(),
			limit:   limit,
			payer:   payer,
			holding: holding{budget: budget, client: clientOf(c, payer)},
			conn:    c.Context().Conn(),
		}
		defer r.holding.release()

		body, err := r.read(c)
		if err != nil {
			return err
		}
		c.Request().SetBodyRaw(body)
		return c.Next()
	}
}

// bodyReader reads one body.
type bodyReader struct {
	stream  io.Reader
	length  int // negative if the body comes in chunks
	limit   int // bytes
	payer   Payer
	holding holding
	conn    net.Conn
}

// read reads the body of a request. If it returns an error, the rest of the body
// was thrown away, or the connection is going to be closed.
func (r *bodyReader) read(c *fiber.Ctx) ([]byte, error) {
	body, err := r.readAll()
	r.holding.end()
	if err != nil && r.holding.transfer.wasTooSlow() {
		c.Context().SetConnectionClose()
		return nil, &SlowBodyError{}
	}
	if err == nil && len(c.Request().Header.PeekTrailerKeys()) > 0 {
		err = errors.New("headers follow its last chunk: send them before the body")
	}

	var tooLarge *BodyTooLargeError
	var overloaded *OverloadedError
	switch {
	case errors.As(err, &tooLarge), errors.As(err, &overloaded):
		r.holding.release() // what is thrown away takes no memory
		r.drain(c)
		return nil, err
	case err != nil:
		c.Context().SetConnectionClose()
		return nil, fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("the body could not be read: %v", err))
	}

	encoding := c.Request().Header.Peek(fiber.HeaderContentEncoding)
	if len(encoding) > 0 && !bytes.EqualFold(encoding, []byte("identity")) {
		return nil, &UnsupportedEncodingError{Encoding: string(encoding)}
	}
	return body, nil
}

// readAll reads all of a body into a buffer that grows with what has arrived.
func (r *bodyReader) readAll() ([]byte, error) {
	if r.length > r.limit {
		return nil, &BodyTooLargeError{Limit: r.limit}
	}

	var body []byte
	for len(body) != r.length {
		if len(body) == cap(body) {
			var err error
			if body, err = r.grow(body); err != nil {
				return nil, err
			}
		}

		n, err := r.stream.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		r.charge(n)
		switch {
		case len(body) > r.limit:
			return nil, &BodyTooLargeError{Limit: r.limit}
		case errors.Is(err, io.EOF) && len(body) < r.length:
			return nil, io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return nil, err
		case len(body) < r.length || r.length < 0:
			r.holding.begin(r.stop)
		}
		r.holding.transfer.Moved(n)
	}
	return body, nil
}

// stop has the read that is under way fail.
func (r *bodyReader) stop() { _ = r.conn.SetReadDeadline(time.Unix(1, 0)) }

// grow returns a larger buffer with what is in body, if the budget has room for it.
func (r *bodyReader) grow(body []byte) ([]byte, error) {
	most := r.length
	if most < 0 {
		most = r.limit + 1 // one byte more shows that the body is too large
	}
	size := min(most, max(firstRead, growth*cap(body)))

	if err := r.holding.resize(int64(min(size, r.limit)), int64(max(size, r.length))); err != nil {
		return nil, err
	}
	grown := make([]byte, len(body), size)
	copy(grown, body)
	return grown, nil
}

// charge has the payer pay for n bytes that have arrived.
func (r *bodyReader) charge(n int) {
	if r.payer != nil {
		r.payer.Charge(n)
	}
}

// drain reads what is left of a refused body. If that is more than drainLimit, the
// connection is closed after the answer.
func (r *bodyReader) drain(c *fiber.Ctx) {
	n, err := io.CopyN(io.Discard, r.stream, drainLimit)
	r.charge(int(n))
	if !errors.Is(err, io.EOF) {
		c.Context().SetConnectionClose()
	}
}

// BodyTooLargeError is a request body above the broker's limit.
type BodyTooLargeError struct{ Limit int } // bytes

func (e *BodyTooLargeError) Error() string {
	return fmt.Sprintf(
		"the body is larger than the limit of %d bytes: send less, or raise DQ_MAX_MESSAGE_BYTES", e.Limit)
}

// UnsupportedEncodingError is a body with a Content-Encoding, such as gzip.
type UnsupportedEncodingError struct{ Encoding string }

func (e *UnsupportedEncodingError) Error() string {
	return fmt.Sprintf("the body has the Content-Encoding %.100q: send it as it is, without one", e.Encoding)
}
