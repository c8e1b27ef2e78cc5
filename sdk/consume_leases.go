package sdk

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// extensions is how often a lease is extended before it would end.
const extensions = 3

// endGrace ends the contexts of the handlers that are under way for too long
// after running has ended.
func (l *loop) endGrace(running, attending context.Context, abandon func()) {
	select {
	case <-running.Done():
	case <-attending.Done():
		return
	}
	timer := time.NewTimer(l.grace)
	defer timer.Stop()
	select {
	case <-timer.C:
		abandon()
	case <-attending.Done():
	}
}

// keep extends the leases of all messages that are held, queued ones included.
func (l *loop) keep(attending context.Context) {
	ticker := time.NewTicker(l.lease / extensions)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-attending.Done():
			return
		}
		if err := l.extend(attending); err != nil && attending.Err() == nil {
			l.report(fmt.Errorf("extend leases: %w", err))
		}
	}
}

func (l *loop) extend(attending context.Context) error {
	l.mu.Lock()
	tokens := make([]string, 0, len(l.held))
	for token := range l.held {
		tokens = append(tokens, token)
	}
	l.mu.Unlock()
	if len(tokens) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(attending, l.lease)
	defer cancel()
	err := l.subscription.Extend(ctx, 0, tokens...)
	if !errors.Is(err, ErrLeaseLost) {
		return err
	}
	refused, _ := errors.AsType[*Error](err)
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := 0
	for _, token := range refused.Tokens {
		// One that is done may just have been settled.
		if d := l.held[token]; d != nil && !d.done {
			d.end(ErrLeaseLost)
			delete(l.held, token)
			lost++
		}
	}
	if lost == 0 {
		return nil
	}
	return err
}

// settle acknowledges what is done, and gives back the rest: at once, and while
// that is under way what comes meanwhile gathers for the next time.
func (l *loop) settle(calls, attending context.Context) {
	for {
		select {
		case <-l.settled:
			l.settleSome(calls)
		case <-attending.Done(): // no handler is left
			l.settleSome(calls)
			return
		}
	}
}

func (l *loop) settleSome(ctx context.Context) {
	l.mu.Lock()
	acks, nacks := l.acks, l.nacks
	l.acks, l.nacks = nil, make(map[time.Duration][]string)
	l.mu.Unlock()
	if len(acks) > 0 {
		l.settledWith("acknowledge", l.subscription.Ack(ctx, acks...), acks)
	}
	for delay, tokens := range nacks {
		l.settledWith("give back", l.subscription.Nack(ctx, delay, tokens...), tokens)
	}
}

// settledWith frees the slots of messages. Those that could not be settled come
// back when their leases end.
func (l *loop) settledWith(operation string, err error, tokens []string) {
	if err != nil {
		l.report(fmt.Errorf("%s: %w", operation, err))
	}
	l.drop(tokens...)
}
