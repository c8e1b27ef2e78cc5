package sdk

import (
	"strings"
	"time"
)

// run sends batches until the producer is closed and nothing is left.
func (p *AsyncProducer) run() {
	defer close(p.ended)
	for {
		batch, flushed := p.next()
		if len(batch) > 0 {
			p.send(batch)
		}
		if flushed != nil {
			flushed <- p.failedSince()
			if p.isDone() {
				return
			}
		}
	}
}

// isDone reports whether the producer is closed and nothing is left.
func (p *AsyncProducer) isDone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed && len(p.waiting) == 0
}

// next waits for the next batch, which is full, or old enough, or wanted by a
// flush. In that case it also returns whom to tell.
func (p *AsyncProducer) next() (batch []waiting, flushed chan error) {
	var linger <-chan time.Time
	old := p.linger <= 0
	for {
		p.mu.Lock()
		if len(p.waiting) > 0 && (old || p.urgent > 0 || p.full()) {
			defer p.mu.Unlock()
			return p.cut()
		}
		some := len(p.waiting) > 0
		p.mu.Unlock()
		if some && linger == nil {
			timer := time.NewTimer(p.linger)
			defer timer.Stop()
			linger = timer.C
		}
		select {
		case <-p.more:
		case <-linger:
			old = true
		}
	}
}

// cut takes as much as one batch may have, up to a flush. The caller holds the
// lock.
func (p *AsyncProducer) cut() (batch []waiting, flushed chan error) {
	n, bytes := 0, 0
	for n < len(p.waiting) && n < p.batchMessages && (n == 0 || bytes+p.waiting[n].cost <= p.batchBytes) {
		if p.waiting[n].flushed != nil {
			break
		}
		bytes += p.waiting[n].cost
		n++
	}
	batch = p.waiting[:n:n]
	p.waiting = p.waiting[n:]
	p.bytes -= bytes
	if len(p.waiting) > 0 && p.waiting[0].flushed != nil {
		flushed = p.waiting[0].flushed
		p.waiting = p.waiting[1:]
		p.urgent--
	}
	return batch, flushed
}

// send sends a batch and reports on it. One that may have been refused because
// of a single message is sent in halves.
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
		d := AsyncResult{Message: messages[i], Err: err}
		if receipts != nil {
			d.Receipt, d.Err = receipts[i], receipts[i].Err()
			if strings.HasPrefix(messages[i].IdempotencyKey, p.prefix) {
				d.Receipt.Duplicate = false // of an attempt of our own
			}
		}
		p.deliver(d, batch[i].cost)
	}
}

// deliver reports on one message, and makes room for another.
func (p *AsyncProducer) deliver(d AsyncResult, cost int) {
	if d.Err != nil {
		if p.failures == 0 {
			p.failure = d.Err
		}
		p.failures++
	}
	p.report(d)
	p.roomForMessages.Release(1)
	p.roomForBytes.Release(int64(cost))
}
