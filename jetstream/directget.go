package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/semaphore"

	"dq/jetstream/engine"
)

// getRequest is the body of the engine's direct get (ADR-31).
type getRequest struct {
	Seq       uint64     `json:"seq,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	LastFor   string     `json:"last_by_subj,omitempty"`
	Batch     int        `json:"batch,omitempty"` // 0: one message, and no status after it
	MaxBytes  int        `json:"max_bytes,omitempty"`
	NoHeaders bool       `json:"no_hdr,omitempty"`
}

const (
	statusHeader  = "Status"
	pendingHeader = "Nats-Num-Pending"

	statusEndOfBatch   = "204"
	statusNotFound     = "404"
	statusNoResponders = "503"
)

// The size of the batches in which readAll reads a stream: messages, and about that
// many bytes.
const (
	readAllMessages = 1000
	readAllBytes    = 1 << 20
)

const (
	// maxAsked is how many bytes all calls together may ask for at once, or
	// a part of what the process may use (GOMEMLIMIT), if that is less. The engine
	// cuts off a connection with 64 MiB under way.
	maxAsked  = 32 << 20
	askedPart = 8

	// smallAsk is how many bytes a call may ask for to be served from the part that
	// larger calls cannot take, one part of smallAsks.
	smallAsk  = 512 << 10
	smallAsks = 4

	// messageCost is how many bytes of memory a reply takes besides its data.
	messageCost = 1 << 10
)

// A reader asks the engine for messages and gathers its replies. All replies come
// through one subscription; one for each call would cost more than the call.
type reader struct {
	nc      *nats.Conn
	inbox   string                  // the prefix of all reply subjects
	small   askPool                 // calls that ask for little do not wait for the others
	large   askPool                 // all other calls
	largest *lru.Cache[string, int] // bytes of the largest message that was read of a stream

	mu    sync.Mutex
	last  uint64 // id of the latest call
	calls map[uint64]*readCall
}

// An askPool bounds the bytes that its calls ask for at once.
type askPool struct {
	bytes *semaphore.Weighted
	limit int64
}

func newAskPool(limit int64) askPool {
	return askPool{bytes: semaphore.NewWeighted(limit), limit: limit}
}

// acquire waits until n bytes, or as many as there are, may be asked for. The caller
// calls release when they have come. Errors: [*UnavailableError].
func (p *askPool) acquire(ctx context.Context, n int64) (release func(), err error) {
	n = min(n, p.limit)
	if !p.bytes.TryAcquire(n) { // which saves the cost of watching ctx
		if err := p.bytes.Acquire(ctx, n); err != nil {
			return nil, engine.Unavailable("read while other reads are under way", err)
		}
	}
	return func() { p.bytes.Release(n) }, nil
}

// readCall is one call of ask.
type readCall struct {
	replies []*nats.Msg
	want    int           // how many replies will come; 0: all up to the first status
	done    chan struct{} // closed when the last reply has arrived
}

func newReader(nc *nats.Conn) (*reader, error) {
	limit := min(maxAsked, debug.SetMemoryLimit(-1)/askedPart) // -1 changes nothing
	largest, err := lru.New[string, int](rememberedTopics)
	if err != nil {
		return nil, err
	}
	r := &reader{
		nc:      nc,
		inbox:   nats.InboxPrefix + nuid.Next() + ".",
		small:   newAskPool(limit / smallAsks),
		large:   newAskPool(limit - limit/smallAsks),
		largest: largest,
		calls:   make(map[uint64]*readCall),
	}

	sub, err := nc.Subscribe(r.inbox+"*", r.receive)
	if err != nil {
		return nil, engine.Unavailable("listen for messages", err)
	}
	return r, sub.SetPendingLimits(-1, -1) // the requests bound the replies
}

// ask sends requests about a stream and returns the replies. Requests for single
// messages get one reply each. One request for a batch gets its messages, and last a
// status that says how the batch ended. It waits while other calls have asked for all
// that may be asked for at once.
// Errors: [nats.ErrNoResponders] if the stream does not exist, [*UnavailableError].
func (r *reader) ask(ctx context.Context, stream string, requests ...getRequest) ([]*nats.Msg, error) {
	cost, known := r.cost(stream, requests)
	pool := &r.large
	if cost <= smallAsk || !known { // after one read it is known
		pool = &r.small
	}
	release, err := pool.acquire(ctx, cost)
	if err != nil {
		return nil, err
	}
	defer release()

	replies, err := r.request(ctx, stream, requests)
	if err == nil {
		r.learnFrom(stream, replies)
	}
	return replies, err
}

// cost returns how many bytes of memory the replies to requests take at most, as far
// as that is known: a batch ends after the message that reaches its limit.
func (r *reader) cost(stream string, requests []getRequest) (bytes int64, known bool) {
	largest, known := r.largestOf(stream)
	for i := range requests {
		bytes += int64(requests[i].MaxBytes + max(requests[i].Batch, 1)*messageCost + largest)
	}
	return bytes, known
}

// largestOf returns the size of the largest message of a stream that this process has
// seen, or how large one can be if it has not looked yet.
func (r *reader) largestOf(stream string) (size int, known bool) {
	if size, known = r.largest.Get(stream); known {
		return size, true
	}
	return int(r.nc.MaxPayload()), false
}

// expect returns how many bytes of data a read of so many messages and bytes brings at
// most. They are not known before a first read of the stream.
func (r *reader) expect(stream string, messages, bytes int) (most int, known bool) {
	largest, known := r.largestOf(stream)
	if messages <= bytes/(largest+1) || messages == 1 {
		return messages * largest, known
	}
	return bytes + largest, known
}

// learnFrom remembers the size of the largest message of a stream.
func (r *reader) learnFrom(stream string, replies []*nats.Msg) {
	largest := 0
	for _, m := range replies {
		largest = max(largest, len(m.Data))
	}
	r.learn(stream, largest)
}

// learn notes that a stream has a message of that size.
func (r *reader) learn(stream string, size int) {
	if known, ok := r.largest.Peek(stream); !ok || size > known {
		r.largest.Add(stream, size)
	}
}

// mayAsk returns how many single messages of stream may be asked for at once.
func (r *reader) mayAsk(stream string) int {
	largest, _ := r.largestOf(stream)
	return max(1, int(r.large.limit)/(largest+messageCost))
}

// request sends requests and gathers the replies.
func (r *reader) request(ctx context.Context, stream string, requests []getRequest) ([]*nats.Msg, error) {
	call := &readCall{done: make(chan struct{})}
	if requests[0].Batch == 0 {
		call.want = len(requests)
	}
	id := r.register(call)
	defer r.forget(id)

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
		first := call.replies[0]
		if kindOf(first) == statusReply && first.Header.Get(statusHeader) == statusNoResponders {
			return nil, nats.ErrNoResponders
		}
		return call.replies, nil
	case <-ctx.Done():
		return nil, engine.Unavailable("read", context.Cause(ctx))
	}
}

// register gives call an id, which is part of the subject of its replies.
func (r *reader) register(call *readCall) (id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	r.calls[r.last] = call
	return r.last
}

func (r *reader) forget(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.calls, id)
}

// receive adds a reply to its call. The NATS connection calls it for each one.
func (r *reader) receive(m *nats.Msg) {
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

// replyKind says what a reply is.
type replyKind int

const (
	messageReply replyKind = iota
	statusReply            // says how the request ended
	brokenReply            // a message whose headers, and so its sequence, cannot be read
)

func kindOf(m *nats.Msg) replyKind {
	switch {
	case m.Header[jetstream.SequenceHeader] != nil: // first, as a message may have a header "Status", too
		return messageReply
	case m.Header[statusHeader] != nil && len(m.Data) == 0:
		return statusReply
	}
	return brokenReply
}

// batch is the result of a request for a batch.
type batch struct {
	messages []Message // those before the first broken one
	broken   bool      // a broken message follows them
	pending  uint64    // messages of the stream from the first one on, the batch included
}

// decodeBatch reads the replies to a request for a batch.
// Errors: [*UnavailableError].
func decodeBatch(replies []*nats.Msg) (batch, error) {
	end := replies[len(replies)-1]
	replies = replies[:len(replies)-1]
	switch status := end.Header.Get(statusHeader); status {
	case statusEndOfBatch:
	case statusNotFound:
		return batch{}, nil
	default:
		err := fmt.Errorf("status %s: %s", status, end.Header.Get("Description"))
		return batch{}, engine.Unavailable("read", err)
	}

	after, err := strconv.ParseUint(end.Header.Get(pendingHeader), 10, 64)
	if err != nil {
		err = fmt.Errorf("an end of batch without the number of pending messages: %w", err)
		return batch{}, engine.Unavailable("read", err)
	}
	b := batch{pending: after + uint64(len(replies))}
	if i := slices.IndexFunc(replies, func(m *nats.Msg) bool { return kindOf(m) == brokenReply }); i >= 0 {
		replies, b.broken = replies[:i], true
	}
	b.messages, err = decodeAll(replies)
	return b, err
}

// decodeAll reads replies that are all messages. Errors: [*UnavailableError].
func decodeAll(replies []*nats.Msg) ([]Message, error) {
	msgs := make([]Message, len(replies))
	for i := range msgs {
		var err error
		if msgs[i], err = decode(replies[i]); err != nil {
			return nil, engine.Unavailable("read", fmt.Errorf("a message without its place: %w", err))
		}
	}
	return msgs, nil
}

// readAll calls each with every message of a stream, in order.
// Errors: [nats.ErrNoResponders] if the stream does not exist, [*UnavailableError].
func readAll(ctx context.Context, topics *Topics, stream string, each func(Message) error) error {
	for next := uint64(1); ; {
		request := getRequest{Seq: next, Batch: readAllMessages, MaxBytes: readAllBytes}
		replies, err := topics.reader.ask(ctx, stream, request)
		if err != nil {
			return err
		}
		b, err := decodeBatch(replies)
		if err != nil {
			return err
		}

		for _, m := range b.messages {
			if err := each(m); err != nil {
				return engine.Unavailable("read "+stream, err)
			}
			next = m.Sequence + 1
		}
		if b.pending == uint64(len(b.messages)) {
			return nil
		}
	}
}
