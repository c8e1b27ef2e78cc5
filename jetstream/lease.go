package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// token returns the name of a lease: the consumer's id, the epoch, the sequence of
// the message, and the number of the delivery.
func token(consumer int64, epoch uint64, l Lease) string {
	return fmt.Sprintf("%d-%d-%d-%d", consumer, epoch, l.Sequence, l.Deliveries)
}

// find returns the index of the lease whose token is text, or -1.
func (c *Cursor) find(consumer int64, text string) int {
	var (
		ofConsumer int64
		epoch      uint64
		want       Lease
	)
	_, err := fmt.Sscanf(text, "%d-%d-%d-%d", &ofConsumer, &epoch, &want.Sequence, &want.Deliveries)
	if err != nil || token(consumer, c.Epoch, want) != text {
		return -1
	}
	i, found := slices.BinarySearchFunc(c.Leases, want.Sequence, func(l Lease, s uint64) int {
		return cmp.Compare(l.Sequence, s)
	})
	if !found || c.Leases[i].Deliveries != want.Deliveries {
		return -1
	}
	return i
}

// ended marks a lease that is to be removed, in place of its end.
const ended = -1

// wake returns when the next lease runs out; zero if there is none.
func (c *Cursor) wake() (first time.Time) {
	for _, l := range c.Leases {
		if until := time.UnixMilli(l.Until); first.IsZero() || until.Before(first) {
			first = until
		}
	}
	return first
}

// redeliver returns the messages whose lease has run out, then new ones, as far as
// limits allow, and changes position and leases of next accordingly. A message that
// the dead-letter topic refuses keeps its lease, and the others are delivered without
// it; its error is returned only if no other message is.
func (c *Consumers) redeliver(
	ctx context.Context, consumer Consumer, p *consumerState, next *Cursor, limits Limits,
) ([]Delivery, error) {
	until := endAfter(time.Now(), consumer.Lease)
	b := &leaseBatch{consumer: consumer, state: p, next: next, limits: limits, until: until}
	deadLetter, err := c.addExpired(ctx, b)
	if err != nil {
		return nil, err
	}

	for !b.full() && len(next.Leases) < consumer.MaxInFlight {
		m, ok, err := c.message(ctx, consumer, p, next.Position, limits.Messages-len(b.out))
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if err := c.pass(ctx, consumer, p, next, m.Sequence); err != nil {
			return nil, err
		}
		l := Lease{Sequence: m.Sequence, Deliveries: 1, Until: b.until}
		next.Position = m.Sequence
		next.Leases = append(next.Leases, l) // at the end: sequences only grow
		b.add(m, l)
	}

	if len(b.out) > 0 {
		return b.out, nil
	}
	return nil, deadLetter
}

// leaseBatch gathers what one fetch delivers.
type leaseBatch struct {
	consumer Consumer
	state    *consumerState
	next     *Cursor
	limits   Limits
	until    int64 // when the leases end, in milliseconds of Unix time
	out      []Delivery
	bytes    int
}

func (b *leaseBatch) full() bool {
	return len(b.out) >= b.limits.Messages || b.bytes >= b.limits.Bytes
}

func (b *leaseBatch) add(m Message, l Lease) {
	token := token(b.consumer.ID, b.next.Epoch, l)
	b.out = append(b.out, Delivery{Message: m, Deliveries: l.Deliveries, Token: token})
	b.bytes += len(m.Data)
}

// addExpired adds the messages whose lease has run out, and moves those that were
// delivered too often to the dead-letter topic. The result deadLetter is the error of
// the last message that the topic refused, or nil.
func (c *Consumers) addExpired(ctx context.Context, b *leaseBatch) (deadLetter, err error) {
	now := time.Now().UnixMilli()
	for i := 0; i < len(b.next.Leases); {
		l := &b.next.Leases[i]
		if l.Until > now {
			i++
			continue
		}
		if b.full() {
			break
		}

		m, err := c.topics.Get(ctx, b.consumer.Topic, l.Sequence)
		var gone *NoMessageError
		switch {
		case errors.As(err, &gone): // removed by age, size, or purge
			b.next.Leases = slices.Delete(b.next.Leases, i, i+1)
			continue
		case err != nil:
			return nil, err
		}

		if b.consumer.MaxDeliveries > 0 && l.Deliveries >= b.consumer.MaxDeliveries {
			err := c.deadLetter(ctx, b.consumer, b.next.Epoch, m, l.Deliveries)
			c.logDeadLetter(b.consumer, b.state, err)
			if err != nil {
				deadLetter = &DeadLetterError{Topic: b.consumer.DeadLetterTopic, Sequence: m.Sequence, Err: err}
				i++
				continue
			}
			b.next.Leases = slices.Delete(b.next.Leases, i, i+1)
			continue
		}

		l.Deliveries++
		l.Until = b.until
		b.add(m, *l)
		i++
	}
	return deadLetter, nil
}

// Ack acknowledges the messages of tokens: they are never delivered again. Errors: [*ModeError],
// [*LeaseError], [*UnavailableError].
func (c *Consumers) Ack(ctx context.Context, consumer Consumer, tokens []string) error {
	return c.changeLeases(ctx, consumer, tokens, func(leases []Lease, i int) { leases[i].Until = ended })
}

// AckUpTo acknowledges the message of token and all delivered messages before it.
// Errors: as for [Consumers.Ack].
func (c *Consumers) AckUpTo(ctx context.Context, consumer Consumer, token string) error {
	return c.changeLeases(ctx, consumer, []string{token}, func(leases []Lease, i int) {
		for j := range leases[:i+1] {
			leases[j].Until = ended
		}
	})
}

// Nack gives the messages of tokens back, to be delivered again after delay. A message
// that was delivered as often as it may be goes to the dead-letter topic. Errors: as for [Consumers.Ack].
func (c *Consumers) Nack(ctx context.Context, consumer Consumer, tokens []string, delay time.Duration) error {
	return c.endAfter(ctx, consumer, tokens, delay)
}

// Extend moves the end of the leases of tokens to the time lease from now.
// Errors: as for [Consumers.Ack].
func (c *Consumers) Extend(ctx context.Context, consumer Consumer, tokens []string, lease time.Duration) error {
	return c.endAfter(ctx, consumer, tokens, lease)
}

func (c *Consumers) endAfter(ctx context.Context, consumer Consumer, tokens []string, d time.Duration) error {
	return c.changeLeases(ctx, consumer, tokens, func(leases []Lease, i int) {
		leases[i].Until = endAfter(time.Now(), d)
	})
}

// endAfter returns the end of a lease of length d, in milliseconds of Unix time,
// rounded up so that no lease ends early. A lease of length 0 has already ended.
func endAfter(now time.Time, d time.Duration) int64 {
	if d <= 0 {
		return now.UnixMilli()
	}
	return now.Add(d + time.Millisecond - 1).UnixMilli()
}

// changeLeases calls change with the lease of each token, and stores all changes at
// once.
func (c *Consumers) changeLeases(
	ctx context.Context, consumer Consumer, tokens []string, change func(leases []Lease, i int),
) error {
	if consumer.Lease == 0 {
		return &ModeError{Operation: "acknowledging", Mode: "lease"}
	}

	var lost []string
	err := c.update(ctx, consumer, func(next *Cursor) (bool, error) {
		lost = nil
		for _, token := range tokens {
			i := next.find(consumer.ID, token)
			if i < 0 {
				lost = append(lost, token)
				continue
			}
			change(next.Leases, i)
		}
		next.Leases = slices.DeleteFunc(next.Leases, func(l Lease) bool { return l.Until == ended })
		return len(lost) < len(tokens), nil
	})

	if err == nil && len(lost) > 0 {
		err = &LeaseError{Tokens: lost}
	}
	return err
}
