package facade

import (
	"bytes"
	"context"
	"io"
	"net"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"
	"golang.org/x/sync/semaphore"

	"dq/facade/transport"
)

// answerBudget bounds the bytes of all large answers together.
type answerBudget struct {
	bytes     *semaphore.Weighted
	limit     int64
	transfers transport.Transfers // of large answers
}

// newAnswerBudget returns a budget of so many bytes. Of an answer, step bytes must be taken in two seconds if others
// wait for its memory.
func newAnswerBudget(limit int64, step int) *answerBudget {
	return &answerBudget{
		bytes:     semaphore.NewWeighted(limit),
		limit:     limit,
		transfers: transport.Transfers{Step: step},
	}
}

// acquire waits until n more bytes of the budget are free, or the whole budget if n is larger. While it waits, answers
// that their clients read too slowly are cut off. The caller must call release once. Errors:
// [*transport.OverloadedError] when ctx ends before.
func (b *answerBudget) acquire(ctx context.Context, n int) (release func(), err error) {
	held, ok := b.tryTake(int64(n))
	if !ok {
		if err := b.take(ctx, held); err != nil {
			return nil, err
		}
	}
	return func() { b.give(held) }, nil
}

// tryTake takes n bytes, or as many as all answers may have, if they are there. It returns how many that would be.
func (b *answerBudget) tryTake(n int64) (held int64, ok bool) {
	held = min(n, b.limit)
	return held, b.bytes.TryAcquire(held)
}

// take waits until n bytes are there, and takes them. Errors: those of acquire.
func (b *answerBudget) take(ctx context.Context, n int64) error {
	defer b.transfers.Hurry()()
	if b.bytes.Acquire(ctx, n) != nil {
		return &transport.OverloadedError{What: "bytes of answers", Limit: b.limit}
	}
	return nil
}

// give returns n bytes.
func (b *answerBudget) give(n int64) { b.bytes.Release(n) }

// A messageReply is the answer that is a list of messages. It encodes each message when it is added: a large answer is
// in memory once, in pieces that are freed as the client takes them.
type messageReply struct {
	lines   bool   // one JSON object a line (NDJSON)
	tail    string // ends the JSON
	last    bytes.Buffer
	full    net.Buffers // the pieces before last
	size    int         // bytes of all pieces
	count   int         // messages
	hold    *readHold   // of the first messages
	release func()      // returns what the answer holds of the budget; nil if it holds nothing

	budget   *answerBudget
	transfer *transport.Transfer // nil as long as the answer is not written, or if it holds nothing
}

// pieceBytes is about how large a piece is, unless a single message is larger.
const pieceBytes = 64 << 10

// add appends a message.
func (l *messageReply) add(view messageView) error {
	before := l.last.Len()
	if !l.lines {
		l.last.WriteString(l.separator())
	}
	if err := json.MarshalWrite(&l.last, &view, jsonOptions); err != nil {
		return err
	}
	if l.lines {
		l.last.WriteByte('\n')
	}
	l.count++
	l.size += l.last.Len() - before

	if l.last.Len() >= pieceBytes {
		l.full = append(l.full, l.last.Bytes())
		l.last = bytes.Buffer{}
		l.last.Grow(pieceBytes + pieceBytes/4)
	}
	return nil
}

// separator returns what stands in JSON before the next message.
func (l *messageReply) separator() string {
	if l.count == 0 {
		return `{"messages":[`
	}
	return ","
}

// setNext has the JSON end with the sequence from which the next call reads.
func (l *messageReply) setNext(next uint64) { l.tail = `,"next":` + strconv.FormatUint(next, 10) }

// Close implements [io.Closer]. The HTTP server calls it when the answer was sent, or could not be.
func (l *messageReply) Close() error {
	l.hold.Give()
	l.transfer.End()
	if l.release != nil {
		l.release()
		l.release = nil
	}
	return nil
}

func (l *messageReply) write(c *fiber.Ctx) error {
	contentType := mimeNDJSON
	if !l.lines {
		contentType = fiber.MIMEApplicationJSON
		before := l.last.Len()
		if l.count == 0 {
			l.last.WriteString(l.separator())
		}
		l.last.WriteString("]" + l.tail + "}")
		l.size += l.last.Len() - before
	}

	if len(l.full) == 0 {
		writeBody(c, contentType, l.last.Bytes())
		return l.Close()
	}
	l.full = append(l.full, l.last.Bytes())
	l.stream(c, contentType)
	return nil
}

// stream has the HTTP server write the pieces of the answer, and then call Close.
func (l *messageReply) stream(c *fiber.Ctx, contentType string) {
	client, ok := c.Context().Conn().(*transport.Conn)
	if ok && l.release != nil {
		l.transfer = l.budget.transfers.Begin(client.StopWriting)
	}
	l.hold.shrink(l.size)
	l.hold.begin(client)
	c.Context().SetContentType(contentType)
	c.Response().SetBodyStream(&messageStream{l.full, l}, l.size)
}

// A messageStream is the body of a large list.
type messageStream struct {
	net.Buffers
	*messageReply
}

// WriteTo implements [io.WriterTo].
func (s *messageStream) WriteTo(w io.Writer) (written int64, err error) {
	for i, piece := range s.Buffers {
		n, err := w.Write(piece)
		written += int64(n)
		s.transfer.Moved(n)
		s.hold.moved(n)
		if err != nil {
			return written, err
		}
		s.Buffers[i] = nil // frees the piece
	}
	return written, nil
}
