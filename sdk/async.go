package sdk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	defaultBatchMessages = 1000
	defaultBatchBytes    = 1 << 20
	defaultLinger        = 5 * time.Millisecond

	// bufferedBatches is how many batches fit into the buffer by default.
	bufferedBatches = 4

	// messageCost is how many bytes a message counts for besides its data: about
	// what its key, headers and idempotency key take in memory.
	messageCost = 256
)

// An AsyncResult is what became of one message of an [AsyncProducer].
type AsyncResult struct {
	Message NewMessage // with the idempotency key that it was sent with
	Receipt Receipt

	// Err is nil if the message is stored or is going to be. A refusal, such as
	// [ErrTopicFull], says that it is not. After a failure of the broker or the
	// connection it may be stored or not; it can be sent again with the same
	// idempotency key.
	Err error
}

// An AsyncOption changes how an [AsyncProducer] works.
type AsyncOption func(*AsyncProducer)

// WithBatch bounds a batch; 1000 messages and 1 MiB by default. Each bound is at
// least 1. A broker accepts at most 10,000 messages in a batch. A message larger
// than bytes is sent alone.
func WithBatch(messages, bytes int) AsyncOption {
	return func(p *AsyncProducer) { p.batchMessages, p.batchBytes = max(messages, 1), max(bytes, 1) }
}

// WithBuffer bounds the messages that were accepted and are not reported yet,
// those of the batch under way included; four batches by default. Each bound is at
// least 1. [AsyncProducer.Send] blocks while the buffer is full.
func WithBuffer(messages, bytes int) AsyncOption {
	return func(p *AsyncProducer) { p.bufferMessages, p.bufferBytes = max(messages, 1), max(bytes, 1) }
}

// WithLinger sets how long the first message of a batch that is not full waits for
// more; 5 milliseconds by default. If it is 0, no message waits for more.
func WithLinger(linger time.Duration) AsyncOption {
	return func(p *AsyncProducer) { p.linger = linger }
}

// WithReport sets the function that is called with the result of each message, in
// the order in which they were sent. The next batch waits until report returns, so
// report must not call the producer.
func WithReport(report func(AsyncResult)) AsyncOption {
	return func(p *AsyncProducer) { p.report = report }
}

// An AsyncProducer gathers messages for one topic and sends them in batches, one
// batch at a time: messages are stored in the order in which they were sent, except
// those that are refused. A message without an idempotency key gets one, so that
// batches can be repeated safely. An AsyncProducer is safe for concurrent use, and
// has to be closed.
type AsyncProducer struct {
	topic                       *Topic
	batchMessages, batchBytes   int
	bufferMessages, bufferBytes int
	linger                      time.Duration
	report                      func(AsyncResult)

	ctx    context.Context // of the calls; ends when Close gives up
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when the last message was reported

	roomForMessages, roomForBytes *semaphore.Weighted

	mu      sync.Mutex
	prefix  string // of the idempotency keys
	number  uint64 // of the next message
	waiting []waiting
	bytes   int           // what waiting costs
	flushes int           // how many flushes are in waiting
	closed  bool          // accept no more messages
	more    chan struct{} // tells that waiting has more

	// Only the goroutine of run uses these:
	failures int   // messages that failed since the last flush
	failure  error // of the first of them
}

// waiting is a message to send, or a flush.
type waiting struct {
	message NewMessage
	cost    int
	flushed chan error // of a flush: receives its result; nil for a message
}

// NewAsyncProducer returns a producer for topic, and makes no call yet. If the
// topic does not exist, all messages fail with [ErrTopicNotFound].
func NewAsyncProducer(topic *Topic, opts ...AsyncOption) *AsyncProducer {
	p := &AsyncProducer{
		topic:         topic,
		batchMessages: defaultBatchMessages, batchBytes: defaultBatchBytes,
		linger: defaultLinger, report: func(AsyncResult) {},
		prefix: rand.Text() + "-",
		ended:  make(chan struct{}), more: make(chan struct{}, 1),
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

// Send accepts a message, which must not be changed before its result is reported.
// It blocks while the buffer is full. When it fails, the message is not sent.
// Errors: [ErrClosed], the cause of ctx.
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

// Flush sends the messages that were accepted without further delay, and waits
// until all of them are reported. It fails if some of the messages since the last
// flush are not stored; the error wraps that of the first one. Other errors:
// [ErrClosed], the cause of ctx.
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

// Close flushes and ends the producer. If ctx ends first, Close gives up the
// messages that are not stored yet, which are reported as failed, and fails with
// the cause of ctx. The client stays open. Errors: those of [AsyncProducer.Flush]
// but [ErrClosed].
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
	p.flushes++
	p.wake()
}

// full reports whether a batch is full. The caller holds the lock.
func (p *AsyncProducer) full() bool {
	return len(p.waiting) >= p.batchMessages || p.bytes >= p.batchBytes
}

// wake tells run that waiting has more.
func (p *AsyncProducer) wake() {
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// flushResult returns the error of the messages that failed since the last flush,
// or nil.
func (p *AsyncProducer) flushResult() error {
	if p.failures == 0 {
		return nil
	}
	err := fmt.Errorf("%d messages were not stored, or may not have been; the first: %w", p.failures, p.failure)
	p.failures, p.failure = 0, nil
	return err
}

// splittable reports whether a batch may have been refused with err because of a
// single message in it, or because it is too large.
func splittable(err error) bool {
	return slices.ContainsFunc([]error{
		ErrInvalidField, ErrMissingField, ErrInvalidJSON, ErrInvalidBatch, ErrInvalidText,
		ErrMessageTooLarge, ErrBodyTooLarge, ErrBatchTooLarge,
	}, func(reason error) bool { return errors.Is(err, reason) })
}
