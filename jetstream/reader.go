package jetstream

import (
	"context"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// A reader asks the engine for messages and gathers what it answers. All
// answers come through one subscription, as one for each call would cost more
// than the call.
type reader struct {
	nc    *nats.Conn
	inbox string // answers come below it

	mu    sync.Mutex
	last  uint64
	calls map[uint64]*readCall
}

// readCall is one request.
type readCall struct {
	replies []*nats.Msg
	done    chan struct{} // closed when the last reply is there
}

func newReader(nc *nats.Conn) (*reader, error) {
	r := &reader{nc: nc, inbox: nats.InboxPrefix + nuid.Next() + ".", calls: make(map[uint64]*readCall)}
	sub, err := nc.Subscribe(r.inbox+"*", r.answered)
	if err != nil {
		return nil, unavailable("listen for messages", err)
	}
	return r, sub.SetPendingLimits(-1, -1) // bounded by what is asked for
}

// ask sends a request and returns the replies. The last of them is the one that
// is not a message but says how it ended.
func (r *reader) ask(ctx context.Context, subject string, body []byte) ([]*nats.Msg, error) {
	call := &readCall{done: make(chan struct{})}
	r.mu.Lock()
	r.last++
	id := r.last
	r.calls[id] = call
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.calls, id)
	}()
	if err := r.nc.PublishRequest(subject, r.inbox+strconv.FormatUint(id, 10), body); err != nil {
		return nil, err
	}
	select {
	case <-call.done:
		return call.replies, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *reader) answered(m *nats.Msg) {
	id, err := strconv.ParseUint(m.Subject[len(r.inbox):], 10, 64)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	call := r.calls[id]
	if call == nil {
		return
	}
	call.replies = append(call.replies, m)
	if m.Header[jetstream.SequenceHeader] == nil { // a message may have a header "Status", but that one it has
		delete(r.calls, id)
		close(call.done)
	}
}
