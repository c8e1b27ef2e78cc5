package transport

import (
	"bytes"
	"fmt"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// RefuseAmbiguousFraming refuses a request whose head a proxy might read differently than this server: the two could
// disagree on where the request ends, and what a client sends as a body could become somebody else's request. The
// connection is closed after the answer, and so it is after every body in chunks. Much is refused by fasthttp already;
// this is what it lets through.
//
// The error is a [*FramingError].
func RefuseAmbiguousFraming(c *fiber.Ctx) error {
	header := &c.Request().Header
	const chunked = -1
	if header.ContentLength() == chunked {
		// What fasthttp takes for the end of the last chunk (LF alone, for one), a proxy may take for a part of the
		// body. Then what follows is not the client's next request, but something that the proxy has not seen as one.
		c.Context().SetConnectionClose()
	}

	if err := CheckFraming(c.Context()); err != nil {
		c.Context().SetConnectionClose()
		return err
	}
	return c.Next()
}

// CheckFraming returns a [*FramingError] if a proxy might read the head of a request differently than this server.
func CheckFraming(request *fasthttp.RequestCtx) error {
	header := &request.Request.Header
	problem := framingProblem(header.RawHeaders())
	if client, ok := request.Conn().(*Conn); ok && client.line.bareLF {
		problem = "its request line does not end with CR LF"
	}
	if version := string(header.Protocol()); version != "HTTP/1.1" && version != "HTTP/1.0" {
		problem = "its version is neither HTTP/1.1 nor HTTP/1.0"
	}
	if problem != "" {
		return &FramingError{Problem: problem}
	}
	return nil
}

// framingProblem says what is ambiguous in the raw headers of a request; "" is nothing.
func framingProblem(headers []byte) string {
	var hasLength, hasEncoding bool
	for len(headers) > 0 {
		end := bytes.IndexByte(headers, '\n')
		if end < 1 || headers[end-1] != '\r' {
			return "a header line does not end with CR LF"
		}
		line := headers[:end-1]
		headers = headers[end+1:]
		if len(line) == 0 {
			continue
		}

		switch {
		case line[0] == ' ' || line[0] == '\t':
			return "a header is folded over several lines"
		case isHeader(line, fiber.HeaderContentLength):
			hasLength = true
		case isHeader(line, fiber.HeaderTransferEncoding):
			hasEncoding = true
			value := line[len(fiber.HeaderTransferEncoding)+1:]
			if !bytes.EqualFold(bytes.Trim(value, " \t"), []byte("chunked")) {
				return "its Transfer-Encoding is not chunked"
			}
		}
	}

	if hasLength && hasEncoding {
		return "it has both a Content-Length and a Transfer-Encoding"
	}
	return ""
}

// isHeader reports whether a line is of the header with that name.
func isHeader(line []byte, name string) bool {
	return len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name))
}

// A requestLine checks how the request lines of a connection end: fasthttp accepts LF alone without an error.
type requestLine struct {
	bareLF bool // one of them ended with LF alone

	open   bool // the end has not come yet
	length int  // of what came
	last   byte // of that
}

// see checks bytes that were read. If begins is set, they are the first of a request: the HTTP server then asks for a
// single byte. It does not do so for a request that a client sends before it has the previous answer, which no proxy
// does.
func (l *requestLine) see(read []byte, begins bool) {
	if begins {
		l.open, l.length, l.last = true, 0, 0
	}
	for l.open && len(read) > 0 {
		end := bytes.IndexByte(read, '\n')
		if end < 0 {
			l.length += len(read)
			l.last = read[len(read)-1]
			return
		}

		l.length += end
		if end > 0 {
			l.last = read[end-1]
		}
		if l.last != '\r' {
			l.bareLF = true
		}
		const empty = 1 // a client may send empty lines before a request
		l.open = l.length == empty && !l.bareLF
		l.length, l.last = 0, 0
		read = read[end+1:]
	}
}

// FramingError is a request that servers might read in different ways.
type FramingError struct{ Problem string }

func (e *FramingError) Error() string {
	return fmt.Sprintf("the request can be read in more than one way: %s; send it as RFC 9112 says", e.Problem)
}
