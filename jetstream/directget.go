package jetstream

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"dq/jetstream/engine"
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
	want    int           // how many replies there are going to be; 0: up to the one that is no message
	done    chan struct{} // closed when the last reply is there
}

func newReader(nc *nats.Conn) (*reader, error) {
	r := &reader{nc: nc, inbox: nats.InboxPrefix + nuid.Next() + ".", calls: make(map[uint64]*readCall)}
	sub, err := nc.Subscribe(r.inbox+"*", r.answered)
	if err != nil {
		return nil, engine.Unavailable("listen for messages", err)
	}
	return r, sub.SetPendingLimits(-1, -1) // bounded by what is asked for
}

// ask sends requests about a stream and returns the replies: one to each request
// for a single message, or those to one request for a batch, the last of which
// is not a message but says how it ended.
// Errors: [nats.ErrNoResponders] if there is no such stream, [*UnavailableError].
func (r *reader) ask(ctx context.Context, stream string, requests ...getRequest) ([]*nats.Msg, error) {
	call := &readCall{done: make(chan struct{})}
	if requests[0].Batch == 0 {
		call.want = len(requests)
	}
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
	subject, inbox := "$JS.API.DIRECT.GET."+stream, r.inbox+strconv.FormatUint(id, 10)
	for i := range requests {
		body, err := json.Marshal(&requests[i])
		if err == nil {
			err = r.nc.PublishRequest(subject, inbox, body)
		}
		if err != nil {
			return nil, engine.Unavailable("read", err)
		}
	}
	select {
	case <-call.done:
		if first := call.replies[0]; kindOf(first) == statusReply && first.Header.Get(statusHeader) == statusNoResponders {
			return nil, nats.ErrNoResponders
		}
		return call.replies, nil
	case <-ctx.Done():
		return nil, engine.Unavailable("read", context.Cause(ctx))
	}
}

// replyKind is what a reply is.
type replyKind int

const (
	messageReply replyKind = iota
	statusReply            // says how it ended
	brokenReply            // a message whose headers cannot be read, nor its place
)

func kindOf(m *nats.Msg) replyKind {
	switch {
	case m.Header[jetstream.SequenceHeader] != nil: // it may have a header "Status", too
		return messageReply
	case m.Header[statusHeader] != nil && len(m.Data) == 0:
		return statusReply
	}
	return brokenReply
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
	if len(call.replies) == call.want || call.want == 0 && kindOf(m) == statusReply {
		delete(r.calls, id)
		close(call.done)
	}
}

const (
	// A start reads so many messages of the journal at once, and no more than that
	// many bytes.
	readAtOnce = 1000

	readBytes = 1 << 20
)

// readAll calls each with every message of a stream.
func readAll(ctx context.Context, topics *Topics, stream string, each func(Message) error) error {
	for next := uint64(1); ; {
		replies, err := topics.reader.ask(ctx, stream, getRequest{Seq: next, Batch: readAtOnce, MaxBytes: readBytes})
		if err != nil {
			return err
		}
		messages, pending, _, err := decodeBatch(replies)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if err := each(m); err != nil {
				return engine.Unavailable("read "+stream, err)
			}
			next = m.Sequence + 1
		}
		if pending == uint64(len(messages)) {
			return nil
		}
	}
}
