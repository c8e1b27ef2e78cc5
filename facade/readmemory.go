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
	// smallRead is how many bytes of data a read may bring to be served from the part of the budget that larger ones
	// cannot take.
	smallRead = 256 << 10

	// readCost is how many bytes of memory one byte of data takes until the answer is encoded: as it came, as text,
	// and in the answer.
	readCost = 3

	// readStep is how much of what was read a client must take in two seconds if others wait for its memory.
	readStep = 256 << 10
)

// A readBudget bounds the memory of all messages that were read for a stream, a socket or the first part of an answer,
// and that the client has not taken yet. Messages of small topics have a part of their own, so that they pass while
// large ones wait for readers that have stopped.
type readBudget struct{ small, large *answerBudget }

func newReadBudget(limit int64) *readBudget {
	return &readBudget{small: newAnswerBudget(limit/2, readStep), large: newAnswerBudget(limit-limit/2, readStep)}
}

// A readHold is what one call holds of the budget. It implements [jetstream.ReadMemory]. A nil readHold holds nothing.
type readHold struct {
	budget  *readBudget
	ctx     context.Context // until when it waits for memory
	timeout time.Duration   // how long it waits at most; 0 is until ctx ends

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
	if bytes > smallRead && known { // after one read it is known
		pool = h.budget.large
	}

	held, ok := pool.tryTake(int64(bytes) * readCost)
	if !ok { // only now, because a timer costs more than all the rest
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

// shrink gives back all but what an answer of that size takes once it is encoded.
func (h *readHold) shrink(bytes int) {
	if h == nil || h.pool == nil {
		return
	}
	if more := h.bytes - int64(bytes); more > 0 {
		h.pool.give(more)
		h.bytes -= more
	}
}

// begin notes that what was read is being written. If the client takes it too slowly, its connection is cut off.
func (h *readHold) begin(client *transport.Conn) {
	if h != nil && h.pool != nil && client != nil {
		h.transfer = h.pool.transfers.Begin(client.StopWriting)
	}
}

// moved notes that the client has taken n bytes.
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
