package sdk

import (
	"strings"
	"time"
)

// run sends batches until the producer is closed and no message is left.
func (p *AsyncProducer) run() {
	defer close(p.ended)
	for {
		batch, flushed := p.nextBatch()
		if len(batch) > 0 {
			p.send(batch)
		}
		if flushed != nil {
			flushed <- p.flushResult()
			if p.isDone() {
				return
			}
		}
	}
}

// isDone reports whether the producer is closed and no message is left.
func (p *AsyncProducer) isDone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed && len(p.waiting) == 0
}

// nextBatch waits for a batch that is full, or has lingered, or that a flush asks
// for. If a flush follows the batch, it also returns the channel for its result.
func (p *AsyncProducer) nextBatch() (batch []waiting, flushed chan error) {
	var linger <-chan time.Time
	lingered := p.linger <= 0
	for {
		p.mu.Lock()
		if len(p.waiting) > 0 && (lingered || p.flushes > 0 || p.full()) {
			defer p.mu.Unlock()
			return p.takeBatch()
		}
		first := len(p.waiting) > 0 && linger == nil
		p.mu.Unlock()

		if first {
			timer := time.NewTimer(p.linger)
			defer timer.Stop()
			linger = timer.C
		}
		select {
		case <-p.more:
		case <-linger:
			lingered = true
		}
	}
}

// takeBatch removes as many messages as fit into one batch from waiting, up to a
// flush. If it reaches the flush, it removes and returns that too. The caller holds
// the lock.
func (p *AsyncProducer) takeBatch() (batch []waiting, flushed chan error) {
	n, bytes := 0, 0
	for n < min(len(p.waiting), p.batchMessages) {
		next := p.waiting[n]
		if next.flushed != nil || n > 0 && bytes+next.cost > p.batchBytes {
			break
		}
		bytes += next.cost
		n++
	}

	batch = p.waiting[:n:n]
	p.waiting = p.waiting[n:]
	p.bytes -= bytes

	if len(p.waiting) > 0 && p.waiting[0].flushed != nil {
		flushed = p.waiting[0].flushed
		p.waiting = p.waiting[1:]
		p.flushes--
	}
	return batch, flushed
}

// send sends a batch and reports the result of each message. A batch that may have
// been refused because of a single message is sent again in halves.
func (p *AsyncProducer) send(batch []waiting) {
	messages := make([]NewMessage, len(batch))
	for i := range batch {
		messages[i] = batch[i].message
	}

	receipts, err := p.topic.ProduceBatch(p.ctx, messages)
	if receipts == nil && len(batch) > 1 && splittable(err) {
		p.send(batch[:len(batch)/2])
		p.send(batch[len(batch)/2:])
		return
	}

	for i := range batch {
		result := AsyncResult{Message: messages[i], Err: err}
		if receipts != nil {
			result.Receipt, result.Err = receipts[i], receipts[i].Err()
		}
		if strings.HasPrefix(messages[i].IdempotencyKey, p.prefix) {
			result.Receipt.Duplicate = false // an earlier attempt of this producer stored it
		}
		p.finish(result, batch[i].cost)
	}
}

// finish reports the result of a message and makes room for another one.
func (p *AsyncProducer) finish(result AsyncResult, cost int) {
	if result.Err != nil {
		if p.failures == 0 {
			p.failure = result.Err
		}
		p.failures++
	}

	p.report(result)
	p.roomForMessages.Release(1)
	p.roomForBytes.Release(int64(cost))
}
