package sdk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	defaultBatchMessages = 1000
	defaultBatchBytes    = 1 << 20
	defaultLinger        = 5 * time.Millisecond

	// By default, so many batches fit in the buffer.
	bufferedBatches = 4

	// messageCost is what a message counts for beside its data, in bytes.
	messageCost = 256
)

// An AsyncResult is what became of one message of an [AsyncProducer].
type AsyncResult struct {
	Message NewMessage // with the idempotency key that it was sent with
	Receipt Receipt
	// Err is nil if the message is stored, or is going to be. If it is no
	// refusal, whether the message is stored is unknown; it may be sent again
	// with the same key.
	Err error
}

// An AsyncOption changes how an [AsyncProducer] works.
type AsyncOption func(*AsyncProducer)

// WithBatch bounds a batch; 1000 messages and 1 MiB by default. 10,000 messages
// are the most that a broker takes.
func WithBatch(messages, bytes int) AsyncOption {
	return func(p *AsyncProducer) { p.batchMessages, p.batchBytes = max(messages, 1), max(bytes, 1) }
}

// WithBuffer bounds what is accepted and not reported yet, the batch under way
// included; four batches by default. [AsyncProducer.Send] blocks at the bound.
func WithBuffer(messages, bytes int) AsyncOption {
	return func(p *AsyncProducer) { p.bufferMessages, p.bufferBytes = max(messages, 1), max(bytes, 1) }
}

// WithLinger sets how long the first message of a batch that is not full waits
// for more; 5 milliseconds by default. 0 sends what there is.
func WithLinger(linger time.Duration) AsyncOption {
	return func(p *AsyncProducer) { p.linger = linger }
}

// WithReport sets who is told what became of each message, in the order in which
// they were sent. Report holds up the next batch, and must not use the producer.
func WithReport(report func(AsyncResult)) AsyncOption {
	return func(p *AsyncProducer) { p.report = report }
}

// An AsyncProducer gathers messages for one topic and sends them in batches, one
// at a time: they are stored in the order in which they were sent, unless some
// are refused. Each message gets an idempotency key, if it has none, so that
// batches can safely be repeated. It is safe for concurrent use, and has to be
// closed.
type AsyncProducer struct {
	topic                       *Topic
	batchMessages, batchBytes   int
	bufferMessages, bufferBytes int
	linger                      time.Duration
	report                      func(AsyncResult)

	ctx    context.Context //nolint:containedctx // of the calls
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when the last message was reported

	roomForMessages, roomForBytes *semaphore.Weighted

	mu      sync.Mutex
	prefix  string // of the idempotency keys
	number  uint64 // of the next message
	waiting []waiting
	bytes   int // of those
	urgent  int // how many of those are flushes
	closed  bool
	more    chan struct{} // tells that there is something to do

	failures int   // messages that failed since the last flush
	failure  error // of the first of them
}

// waiting is a message that is to be sent, or a flush.
type waiting struct {
	message NewMessage
	cost    int
	flushed chan error // not nil: gets what became of all before it
}

// NewAsyncProducer returns a producer for topic, which has to be there.
func NewAsyncProducer(topic *Topic, opts ...AsyncOption) *AsyncProducer {
	p := &AsyncProducer{
		topic: topic, batchMessages: defaultBatchMessages, batchBytes: defaultBatchBytes, linger: defaultLinger,
		report: func(AsyncResult) {}, prefix: rand.Text() + "-", ended: make(chan struct{}), more: make(chan struct{}, 1),
	}
	for _, opt := range opts {
		opt(p)
	}
	if p.bufferMessages == 0 {
		p.bufferMessages, p.bufferBytes = bufferedBatches*p.batchMessages, bufferedBatches*p.batchBytes
	}
	p.roomForMessages = semaphore.NewWeighted(int64(p.bufferMessages))
	p.roomForBytes = semaphore.NewWeighted(int64(p.bufferBytes))
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	go p.run()
	return p
}

// Send accepts a message, which is not to be changed before it is reported. It
// blocks while the buffer is full. It fails with [ErrClosed] or when ctx ends,
// and then the message is not sent.
func (p *AsyncProducer) Send(ctx context.Context, message NewMessage) error {
	cost := min(messageCost+len(message.Data), p.bufferBytes)
	if p.roomForMessages.Acquire(ctx, 1) != nil {
		return context.Cause(ctx)
	}
	if p.roomForBytes.Acquire(ctx, int64(cost)) != nil {
		p.roomForMessages.Release(1)
		return context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.roomForMessages.Release(1)
		p.roomForBytes.Release(int64(cost))
		return ErrClosed
	}
	if message.IdempotencyKey == "" {
		message.IdempotencyKey = p.prefix + strconv.FormatUint(p.number, 36)
		p.number++
	}
	p.waiting = append(p.waiting, waiting{message: message, cost: cost})
	p.bytes += cost
	if len(p.waiting) == 1 || p.full() {
		p.wake()
	}
	return nil
}

// Flush sends what was accepted without further delay, and returns when all of
// it is reported: with an error if some of the messages since the last flush are
// not stored, or when ctx ends. It fails with [ErrClosed].
func (p *AsyncProducer) Flush(ctx context.Context) error {
	flushed := make(chan error, 1)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	p.flush(flushed)
	p.mu.Unlock()
	select {
	case err := <-flushed:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close flushes, and ends the producer. If ctx ends first, what is under way is
// given up and reported as failed, and Close fails with the error of ctx. The
// client stays open.
func (p *AsyncProducer) Close(ctx context.Context) error {
	flushed := make(chan error, 1)
	p.mu.Lock()
	if p.closed {
		flushed <- nil
	} else {
		p.closed = true
		p.flush(flushed)
	}
	p.mu.Unlock()
	defer p.cancel(ErrClosed)
	select {
	case <-p.ended:
		return <-flushed
	case <-ctx.Done():
		p.cancel(context.Cause(ctx))
		<-p.ended
		return context.Cause(ctx)
	}
}

// flush queues a flush. The caller holds the lock.
func (p *AsyncProducer) flush(flushed chan error) {
	p.waiting = append(p.waiting, waiting{flushed: flushed})
	p.urgent++
	p.wake()
}

// full reports whether a batch is full. The caller holds the lock.
func (p *AsyncProducer) full() bool {
	return len(p.waiting) >= p.batchMessages || p.bytes >= p.batchBytes
}

func (p *AsyncProducer) wake() {
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// failedSince is the error of a flush.
func (p *AsyncProducer) failedSince() error {
	if p.failures == 0 {
		return nil
	}
	err := fmt.Errorf("%d messages were not stored, or that is unknown; the first: %w", p.failures, p.failure)
	p.failures, p.failure = 0, nil
	return err
}

// splittable reports whether a batch may have been refused because of a single
// message in it.
func splittable(err error) bool {
	for _, code := range []*Error{ErrInvalidField, ErrMissingField, ErrInvalidJSON, ErrInvalidBatch, ErrMessageTooLarge, ErrBodyTooLarge, ErrBatchTooLarge} {
		if errors.Is(err, code) {
			return true
		}
	}
	return errors.Is(err, ErrInvalidText)
}
