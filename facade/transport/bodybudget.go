package transport

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
)

const (
	// smallBody is the size up to which a body takes its memory from the part of the budget that larger bodies cannot
	// use.
	smallBody = 64 << 10

	// mediumBody is the size up to which a body may use memory that larger bodies must leave free.
	mediumBody = 1 << 20

	// bodyStep is how many bytes of a body must arrive in two seconds while others wait for memory.
	bodyStep = 1 << 20

	// bodyWait is how long a body may wait for memory.
	bodyWait = 5 * time.Second
)

// A BodyBudget bounds the memory of all request bodies that are under way. Small bodies have their own part, so that
// acks and single messages are served while batches fill the other part. Of each part, a client may hold at most as
// much as it leaves free for others: n clients that take all they can leave one part in n+1. A body for which no memory
// is free waits for a short time; meanwhile, bodies that arrive too slowly are refused. Its methods are safe for
// concurrent use.
type BodyBudget struct {
	small, large bodyPool
	wait         time.Duration
}

// NewBodyBudget returns the budget of a process that may use so many bytes of memory (GOMEMLIMIT). The largest body
// that is allowed fits in any case.
func NewBodyBudget(memory int64, largestBody int) *BodyBudget {
	const smallPart = 4 // small bodies have one part of so many
	all := min(maxBodies, memory/bodyCost)
	return &BodyBudget{
		small: bodyPool{
			limit:     max(smallBody, all/smallPart),
			floor:     smallBody,
			transfers: Transfers{Step: bodyStep},
		},
		large: bodyPool{
			limit:     max(int64(largestBody), all-all/smallPart),
			floor:     int64(largestBody),
			transfers: Transfers{Step: bodyStep},
		},
		wait: bodyWait,
	}
}

// A bodyPool is one part of a budget.
type bodyPool struct {
	limit int64 // bytes
	floor int64 // bytes that a client may hold in any case, if the others leave them

	transfers Transfers // of bodies that did not come at once

	mu    sync.Mutex
	used  int64
	held  map[client]int64 // by those that hold any
	freed chan struct{}    // closed when bytes are given back; nil if nobody waits
}

// take takes n bytes for a body of the client. The body has at least size bytes, arrived or not. Errors:
// [*OverloadedError].
func (p *bodyPool) take(who client, n, size int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()

	limit := p.limit
	if size > mediumBody {
		const mediumPart = 8
		limit = max(p.floor, limit-limit/mediumPart)
	}
	held := p.held[who] + n
	forClient := limit - (p.used - p.held[who]) // what the others leave
	share := max(forClient/2, p.floor)
	switch {
	case held > forClient:
		return &OverloadedError{What: "bytes of request bodies", Limit: limit}
	case held > share:
		return &OverloadedError{What: "bytes of request bodies from one client", Limit: share}
	}

	if p.held == nil {
		p.held = make(map[client]int64)
	}
	p.held[who] = held
	p.used += n
	return nil
}

// give returns n bytes that a client has taken.
func (p *bodyPool) give(who client, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.used -= n
	if p.held[who] -= n; p.held[who] == 0 {
		delete(p.held, who)
	}
	if p.freed != nil {
		close(p.freed)
		p.freed = nil
	}
}

// whenFreed returns a channel that is closed as soon as bytes are given back.
func (p *bodyPool) whenFreed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.freed == nil {
		p.freed = make(chan struct{})
	}
	return p.freed
}

// A client is whose share of the budget a body takes: that of the token or, without one, of the address.
type client struct {
	token   string
	address netip.Addr
}

// clientOf returns whose request c is. The payer is nil if it came without a token.
func clientOf(c *fiber.Ctx, payer Payer) client {
	if payer != nil {
		return client{token: payer.Name()}
	}
	tcp, ok := c.Context().RemoteAddr().(*net.TCPAddr)
	if !ok {
		return client{}
	}

	address := tcp.AddrPort().Addr().Unmap()
	if address.Is6() {
		const network = 64 // bits: a host chooses the others as it likes
		if prefix, err := address.WithZone("").Prefix(network); err == nil {
			address = prefix.Addr()
		}
	}
	return client{address: address}
}

// A holding is what one body holds of a budget. The zero holding has no budget.
type holding struct {
	budget   *BodyBudget
	client   client
	pool     *bodyPool // nil as long as it holds nothing
	size     int64
	transfer *Transfer // nil until some of the body has to be waited for
}

// resize changes the holding to so many bytes, for a body of at least total bytes. It waits until they are free. If it
// returns an error, the holding stays as it was. Errors: [*OverloadedError], [*SlowBodyError].
func (h *holding) resize(size, total int64) error {
	pool := &h.budget.small
	if total > smallBody {
		pool = &h.budget.large
	}

	more := size
	if pool == h.pool {
		more -= h.size
	}
	if err := h.take(pool, more, total); err != nil {
		return err
	}
	if pool != h.pool {
		h.give()
		h.pool = pool
		if h.transfer != nil {
			h.transfer.End()
			h.transfer.join(&pool.transfers)
		}
	}
	h.size = size
	return nil
}

// take takes n bytes of a pool. If they are not free, it waits, and has bodies that are too slow ended meanwhile.
func (h *holding) take(pool *bodyPool, n, total int64) error {
	err := pool.take(h.client, n, total)
	if err == nil || h.budget.wait == 0 {
		return err
	}

	defer pool.transfers.Hurry()()
	timeout := time.NewTimer(h.budget.wait)
	defer timeout.Stop()
	for {
		freed := pool.whenFreed() // before the next attempt, which would miss it otherwise
		if err := pool.take(h.client, n, total); err == nil {
			if h.transfer != nil {
				h.transfer.restart() // this wait was not its client's fault
			}
			return nil
		}

		select {
		case <-freed:
		case <-h.transfer.tooSlow(): // bodies that wait for each other
			return &SlowBodyError{}
		case <-timeout.C:
			return err
		}
	}
}

// begin records that the rest of the body has not arrived yet. If it arrives too slowly, stop is called.
func (h *holding) begin(stop func()) {
	if h.pool != nil && h.transfer == nil {
		h.transfer = h.pool.transfers.Begin(stop)
	}
}

// end records that all of the body has arrived.
func (h *holding) end() {
	h.transfer.End()
}

// release returns all that the holding has taken.
func (h *holding) release() {
	h.end()
	h.give()
}

func (h *holding) give() {
	if h.pool != nil {
		h.pool.give(h.client, h.size)
		h.pool, h.size = nil, 0
	}
}
