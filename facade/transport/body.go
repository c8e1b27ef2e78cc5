package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/gofiber/fiber/v2"
)

// drainLimit is how much of a refused body is read and thrown away, so that the
// client gets to read the answer instead of a reset connection.
const drainLimit = 64 << 20

// readBody reads the body of every request before anything else looks at it.
// What is left unread would be taken for the next request on the connection.
func ReadBody(budget *Budget, limit int) fiber.Handler {
	return func(c *fiber.Ctx) error {
		stream := c.Request().BodyStream()
		if stream == nil {
			return c.Next()
		}
		header := &c.Request().Header
		length := header.ContentLength()
		if length < 0 && hasContentLength(header.RawHeaders()) {
			c.Context().SetConnectionClose() // where the request ends, somebody before us may see otherwise
			return fiber.NewError(fiber.StatusBadRequest, "the request has both a Content-Length and a Transfer-Encoding: send one of them")
		}
		room := length
		if room < 0 || room > limit {
			room = limit
		}
		if _, err := budget.Take(int64(room)); err != nil {
			drain(c, stream)
			return err
		}
		held := room
		defer func() { budget.give(int64(held)) }()
		body, err := readAtMost(stream, length, limit)
		if len(body) < held { // of a body in chunks only the end tells how long it is
			budget.give(int64(held - len(body)))
			held = len(body)
		}
		if client, ok := c.Context().Conn().(*Conn); ok && err == nil && length < 0 && client.ended {
			err = errors.New("it ended before its last chunk") // which the stream takes for its end
		}
		var tooLarge *BodyTooLargeError
		switch {
		case err == nil:
			if encoding := header.Peek(fiber.HeaderContentEncoding); len(encoding) > 0 && !bytes.EqualFold(encoding, []byte("identity")) {
				return &EncodingError{Encoding: string(encoding)}
			}
			c.Request().SetBodyRaw(body)
			return c.Next()
		case errors.As(err, &tooLarge):
			drain(c, stream)
			return tooLarge
		default:
			c.Context().SetConnectionClose()
			return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("the body could not be read: %v", err))
		}
	}
}

// drain reads what is left of a body that is refused, if that is not too much, so
// that the client gets to read the answer.
func drain(c *fiber.Ctx, stream io.Reader) {
	if _, err := io.CopyN(io.Discard, stream, drainLimit); !errors.Is(err, io.EOF) {
		c.Context().SetConnectionClose()
	}
}

// hasContentLength reports whether one of the lines of headers is that.
func hasContentLength(headers []byte) bool {
	for line := range bytes.Lines(headers) {
		if name, _, found := bytes.Cut(line, []byte(":")); found && bytes.EqualFold(name, []byte(fiber.HeaderContentLength)) {
			return true
		}
	}
	return false
}

// readAtMost reads stream, whose length is known unless it is negative.
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

// BodyTooLargeError is a request body above the broker's limit.
type BodyTooLargeError struct{ Limit int } // bytes

func (e *BodyTooLargeError) Error() string {
	return fmt.Sprintf("the body is larger than the limit of %d bytes: send less, or raise DQ_MAX_MESSAGE_BYTES", e.Limit)
}

// EncodingError is a body that is encoded, as if compressed.
type EncodingError struct{ Encoding string }

func (e *EncodingError) Error() string {
	return fmt.Sprintf("the body has the Content-Encoding %.100q: send it as it is, without one", e.Encoding)
}
