package facade

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"dq/facade/transport"
)

const (
	// smallRead is the size up to which a read takes its memory from the part of the budget that larger reads cannot
	// use.
	smallRead = 256 << 10

	// readCost is how many bytes of memory one byte of data takes until the answer is encoded: as read, as text, and in
	// the answer.
	readCost = 3

	// readStep is how many bytes a client must take in two seconds while others wait for memory.
	readStep = 256 << 10
)

// A readBudget bounds the memory of all messages that were read for a stream, a socket or the first part of an answer,
// and that the client has not taken yet. Small reads have their own part, so that they are served while large ones wait
// for clients that have stopped reading.
type readBudget struct{ small, large *answerBudget }

func newReadBudget(limit int64) *readBudget {
	return &readBudget{small: newAnswerBudget(limit/2, readStep), large: newAnswerBudget(limit-limit/2, readStep)}
}

// A readHold is the memory that one call holds of the budget. It implements [jetstream.ReadMemory]. A nil readHold
// holds nothing.
type readHold struct {
	budget  *readBudget
	ctx     context.Context // ends the wait for memory
	timeout time.Duration   // bounds the wait for memory; 0: until ctx ends

	pool     *answerBudget // nil if it holds nothing
	bytes    int64
	transfer *transport.Transfer // nil as long as nothing is written
}

// hold returns the memory of a call. It holds nothing yet.
func (f *Facade) hold() *readHold {
	return &readHold{budget: f.reads, ctx: f.running, timeout: f.opts.RequestTimeout}
}

// holdUntil returns the memory of a stream or socket, which waits for it until ctx ends.
func (f *Facade) holdUntil(ctx context.Context) *readHold {
	return &readHold{budget: f.reads, ctx: ctx}
}

// Take implements [jetstream.ReadMemory]. It does nothing if memory is held already: an answer takes it once for all of
// its first part. Errors: [*transport.OverloadedError].
func (h *readHold) Take(bytes int, known bool) error {
	if h.pool != nil {
		return nil
	}
	pool := h.budget.small
	if bytes > smallRead && known { // the size is known after the first read
		pool = h.budget.large
	}

	held, ok := pool.tryTake(int64(bytes) * readCost)
	if !ok { // the timer is made only now, because it costs more than the rest
		ctx := h.ctx
		if h.timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, h.timeout)
			defer cancel()
		}
		if err := pool.take(ctx, held); err != nil {
			return err
		}
	}
	h.pool, h.bytes = pool, held
	return nil
}

// shrink gives back all memory but the bytes that the encoded answer takes.
func (h *readHold) shrink(bytes int) {
	if h == nil || h.pool == nil {
		return
	}
	if more := h.bytes - int64(bytes); more > 0 {
		h.pool.give(more)
		h.bytes -= more
	}
}

// begin records that the answer is being written. If the client takes it too slowly, its connection is cut off.
func (h *readHold) begin(client *transport.Conn) {
	if h != nil && h.pool != nil && client != nil {
		h.transfer = h.pool.transfers.Begin(client.StopWriting)
	}
}

// moved records that the client has taken n bytes.
func (h *readHold) moved(n int) {
	if h != nil {
		h.transfer.Moved(n)
	}
}

// Give implements [jetstream.ReadMemory]. It gives everything back.
func (h *readHold) Give() {
	if h == nil || h.pool == nil {
		return
	}
	h.transfer.End()
	h.pool.give(h.bytes)
	h.pool, h.transfer = nil, nil
}

// write writes a body. What is held is given back when the client has taken it.
func (h *readHold) write(c *fiber.Ctx, contentType string, body []byte) {
	if len(body) < pieceBytes {
		writeBody(c, contentType, body)
		h.Give()
		return
	}

	var pieces net.Buffers
	for piece := range slices.Chunk(body, pieceBytes) {
		pieces = append(pieces, piece)
	}
	(&messageReply{hold: h, full: pieces, size: len(body)}).stream(c, contentType)
}
