package transport

import (
	"net"
	"net/netip"
	"sync"

	"github.com/gofiber/fiber/v2"
)

// smallBody is how many bytes a body may have to be served from the part of the budget that large bodies cannot take.
const smallBody = 64 << 10

// A BodyBudget bounds the memory of all request bodies that are under way. Small bodies have a part of their own, so
// that acks and single messages pass while batches fill the other. Of each part, a client may hold as much as would
// then be left for the others: n greedy clients leave one part in n+1. Its methods are safe for concurrent use.
type BodyBudget struct{ small, large bodyPool }

// NewBodyBudget returns the budget of a process that may use so many bytes of memory (GOMEMLIMIT). The largest body
// that is allowed fits in any case.
func NewBodyBudget(memory int64, largestBody int) *BodyBudget {
	const smallPart = 4 // small bodies have one part of so many
	all := min(maxBodies, memory/bodyCost)
	return &BodyBudget{
		small: bodyPool{limit: max(smallBody, all/smallPart), floor: smallBody},
		large: bodyPool{limit: max(int64(largestBody), all-all/smallPart), floor: int64(largestBody)},
	}
}

// A bodyPool is one part of a budget.
type bodyPool struct {
	limit int64 // bytes
	floor int64 // bytes that a client may hold in any case, if the others leave them

	mu   sync.Mutex
	used int64
	held map[client]int64 // by those that hold any
}

// take takes n bytes for a client. Errors: [*OverloadedError].
func (p *bodyPool) take(who client, n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()

	held := p.held[who] + n
	forClient := p.limit - (p.used - p.held[who]) // what the others leave
	share := max(forClient/2, p.floor)
	switch {
	case held > forClient:
		return &OverloadedError{What: "bytes of request bodies", Limit: p.limit}
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
	budget *BodyBudget
	client client
	pool   *bodyPool // nil as long as it holds nothing
	size   int64
}

// resize makes the holding so many bytes, of the part for large bodies or of that for small ones. If it returns an
// error, the holding stays as it was.
func (h *holding) resize(size int64, large bool) error {
	pool := &h.budget.small
	if large {
		pool = &h.budget.large
	}

	if pool == h.pool {
		if err := pool.take(h.client, size-h.size); err != nil {
			return err
		}
		h.size = size
		return nil
	}
	if err := pool.take(h.client, size); err != nil {
		return err
	}
	h.release()
	h.pool, h.size = pool, size
	return nil
}

// release returns all that the holding has taken.
func (h *holding) release() {
	if h.pool != nil {
		h.pool.give(h.client, h.size)
		h.pool, h.size = nil, 0
	}
}
