package sdk

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// extensionsPerLease is how often a lease is extended before it would end, so that
// a call that fails has two more chances.
const extensionsPerLease = 3

// keepLeases extends the leases of all messages that are held, those in the queue
// included, until keeping ends.
func (l *loop) keepLeases(keeping context.Context) {
	ticker := time.NewTicker(l.lease / extensionsPerLease)
	defer ticker.Stop()

	for {
		select {
		case <-ticker.C:
		case <-keeping.Done():
			return
		}

		if err := l.extend(keeping); err != nil && keeping.Err() == nil {
			l.report(fmt.Errorf("extend leases: %w", err))
		}
	}
}

// extend extends the leases of all messages that are held. If some are lost, it
// ends the contexts of their handlers and fails with [ErrLeaseLost].
func (l *loop) extend(keeping context.Context) error {
	l.mu.Lock()
	tokens := make([]string, 0, len(l.held))
	for token := range l.held {
		tokens = append(tokens, token)
	}
	l.mu.Unlock()
	if len(tokens) == 0 {
		return nil
	}

	ctx, cancel := context.WithTimeout(keeping, l.lease)
	defer cancel()
	err := l.subscription.Extend(ctx, 0, tokens...)
	if !errors.Is(err, ErrLeaseLost) {
		return err
	}

	refused, _ := errors.AsType[*Error](err)
	if l.lose(refused.Tokens) == 0 {
		return nil
	}
	return err
}

// lose ends the handlers of messages whose leases are lost, and returns how many
// those are. A message that is handled does not count: its lease may just have
// ended by an acknowledgement.
func (l *loop) lose(tokens []string) (lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()

	for _, token := range tokens {
		if m := l.held[token]; m != nil && !m.done {
			m.end(ErrLeaseLost)
			delete(l.held, token)
			lost++
		}
	}
	return lost
}

// ack makes sendAcks acknowledge a message.
func (l *loop) ack(m *heldMessage) {
	l.mu.Lock()
	m.done = true
	l.acks = append(l.acks, m.Token)
	l.mu.Unlock()
	l.wakeSender()
}

// nack makes sendAcks give a message back, to be delivered again after a delay.
func (l *loop) nack(m *heldMessage, delay time.Duration) {
	l.mu.Lock()
	m.done = true
	l.nacks[delay] = append(l.nacks[delay], m.Token)
	l.mu.Unlock()
	l.wakeSender()
}

func (l *loop) wakeSender() {
	select {
	case l.handled <- struct{}{}:
	default:
	}
}

// sendAcks acknowledges and gives back the messages that are handled, until
// keeping ends. While one call is under way, the tokens for the next one gather.
func (l *loop) sendAcks(calls, keeping context.Context) {
	for {
		select {
		case <-l.handled:
			l.sendGathered(calls)
		case <-keeping.Done(): // no handler is left
			l.sendGathered(calls)
			return
		}
	}
}

// sendGathered acknowledges and gives back what has gathered, and frees its slots.
// Messages for which that fails are delivered again when their leases end.
func (l *loop) sendGathered(ctx context.Context) {
	l.mu.Lock()
	acks, nacks := l.acks, l.nacks
	l.acks, l.nacks = nil, make(map[time.Duration][]string)
	l.mu.Unlock()

	if len(acks) > 0 {
		if err := l.subscription.Ack(ctx, acks...); err != nil {
			l.report(fmt.Errorf("acknowledge: %w", err))
		}
		l.forget(acks...)
	}
	for delay, tokens := range nacks {
		if err := l.subscription.Nack(ctx, delay, tokens...); err != nil {
			l.report(fmt.Errorf("give back: %w", err))
		}
		l.forget(tokens...)
	}
}

// forget frees the slots of messages that are acknowledged, given back or lost.
func (l *loop) forget(tokens ...string) {
	l.mu.Lock()
	for _, token := range tokens {
		delete(l.held, token)
	}
	l.mu.Unlock()
	l.slots.Release(int64(len(tokens)))
}
