package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/gofiber/fiber/v2"
)

// drainLimit is how much of a refused body is read and thrown away, so that the
// client can read the answer instead of finding its connection reset.
const drainLimit = 64 << 20

// ReadBody returns a handler that reads the body of a request before any other handler
// looks at it: bytes left unread would be taken for the next request on the
// connection. A body may have limit bytes; budget bounds the bytes of all bodies
// that are being handled.
//
// Errors: [*BodyTooLargeError], [*UnsupportedEncodingError], [*OverloadedError],
// and a [*fiber.Error] if the body breaks a rule of HTTP or ends early.
func ReadBody(budget *Budget, limit int) fiber.Handler {
	return bodyReader{budget: budget, limit: limit}.handle
}

// bodyReader reads bodies of at most limit bytes, within a budget of bytes.
type bodyReader struct {
	budget *Budget
	limit  int
}

func (r bodyReader) handle(c *fiber.Ctx) error {
	stream := c.Request().BodyStream()
	if stream == nil {
		return c.Next()
	}

	length := c.Request().Header.ContentLength()
	chunked := length < 0

	// The length of a body in chunks is known only at its end. Until then, as much as
	// the largest body is reserved for it.
	held := r.limit
	if !chunked {
		held = min(length, r.limit)
	}
	if err := r.budget.take(int64(held)); err != nil {
		drain(c, stream)
		return err
	}
	defer func() { r.budget.give(int64(held)) }()

	body, err := r.read(c, stream, length)
	if len(body) < held {
		r.budget.give(int64(held - len(body)))
		held = len(body)
	}
	if err != nil {
		return err
	}

	c.Request().SetBodyRaw(body)
	return c.Next()
}

// read reads the body of a request from stream. Its length is negative if it comes
// in chunks. If read returns an error, the rest of the body was thrown away, or the
// connection is going to be closed.
func (r bodyReader) read(c *fiber.Ctx, stream io.Reader, length int) ([]byte, error) {
	body, err := readAtMost(stream, length, r.limit)
	if err == nil && len(c.Request().Header.PeekTrailerKeys()) > 0 {
		err = errors.New("headers follow its last chunk: send them before the body")
	}

	var tooLarge *BodyTooLargeError
	switch {
	case errors.As(err, &tooLarge):
		drain(c, stream)
		return nil, tooLarge
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

// readAtMost reads a body of at most limit bytes from stream. Its length is
// negative if it comes in chunks.
func readAtMost(stream io.Reader, length, limit int) ([]byte, error) {
	if length > limit {
		return nil, &BodyTooLargeError{Limit: limit}
	}
	if length >= 0 {
		body := make([]byte, length)
		_, err := io.ReadFull(stream, body)
		return body, err
	}

	body, err := io.ReadAll(io.LimitReader(stream, int64(limit)+1))
	if err == nil && len(body) > limit {
		return nil, &BodyTooLargeError{Limit: limit}
	}
	return body, err
}

// drain reads what is left of a refused body. If that is more than drainLimit, the
// connection is closed after the answer.
func drain(c *fiber.Ctx, stream io.Reader) {
	if _, err := io.CopyN(io.Discard, stream, drainLimit); !errors.Is(err, io.EOF) {
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
