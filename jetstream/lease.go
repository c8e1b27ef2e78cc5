package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// token names a lease of the consumer with that id: of which epoch, message and
// delivery it is.
func token(consumer int64, epoch uint64, l Lease) string {
	return fmt.Sprintf("%d-%d-%d-%d", consumer, epoch, l.Sequence, l.Deliveries)
}

// find is the index of the lease that text is a token of, or -1.
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
	i, found := slices.BinarySearchFunc(c.Leases, want.Sequence, func(l Lease, s uint64) int { return cmp.Compare(l.Sequence, s) })
	if !found || c.Leases[i].Deliveries != want.Deliveries {
		return -1
	}
	return i
}

// ended is the time at which a lease ends that is to be removed.
const ended = -1

// wake is when the next lease runs out; zero if there is none.
func (c *Cursor) wake() (first time.Time) {
	for _, l := range c.Leases {
		if until := time.UnixMilli(l.Until); first.IsZero() || until.Before(first) {
			first = until
		}
	}
	return first
}

// lend hands out the messages whose lease has run out, then new ones, as far as
// limits go, in the cursor next. Position and leases of next change with it. A
// message that cannot be buried keeps its place and is in nobody's way; the
// error is returned if there is nothing else.
func (c *Consumers) lend(ctx context.Context, consumer Consumer, p *position, next *Cursor, now time.Time, limits Limits) ([]Delivery, error) {
	var (
		out      []Delivery
		bytes    int
		unburied error
	)
	until := endAfter(now, consumer.Lease)
	take := func(m Message, l Lease) {
		out = append(out, Delivery{Message: m, Deliveries: l.Deliveries, Token: token(consumer.ID, next.Epoch, l)})
		bytes += len(m.Data)
	}
	for i := 0; i < len(next.Leases); {
		l := &next.Leases[i]
		if l.Until > now.UnixMilli() {
			i++
			continue
		}
		if len(out) == limits.Messages || bytes >= limits.Bytes {
			return out, nil
		}
		m, err := c.topics.Get(ctx, consumer.Topic, l.Sequence)
		var gone *NoMessageError
		switch {
		case errors.As(err, &gone): // removed by age, size, or purge
			next.Leases = slices.Delete(next.Leases, i, i+1)
			continue
		case err != nil:
			return nil, err
		}
		if consumer.MaxDeliveries > 0 && l.Deliveries >= consumer.MaxDeliveries {
			if err := c.bury(ctx, consumer, next.Epoch, m, l.Deliveries); err != nil {
				unburied = &DeadLetterError{Topic: consumer.DeadLetterTopic, Sequence: m.Sequence, Err: err}
				i++
				continue
			}
			next.Leases = slices.Delete(next.Leases, i, i+1)
			continue
		}
		l.Deliveries++
		l.Until = until
		take(m, *l)
		i++
	}
	for len(out) < limits.Messages && bytes < limits.Bytes && len(next.Leases) < consumer.MaxInFlight {
		m, ok, err := c.message(ctx, consumer, p, next.Position, limits.Messages-len(out))
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		l := Lease{Sequence: m.Sequence, Deliveries: 1, Until: until}
		next.Position = m.Sequence
		next.Leases = append(next.Leases, l) // behind all others: sequences only grow
		take(m, l)
	}
	if len(out) > 0 {
		return out, nil
	}
	return nil, unburied
}

// Ack ends the leases of tokens for good. Errors: [*ModeError],
// [*LeaseError], [*UnavailableError].
func (c *Consumers) Ack(ctx context.Context, consumer Consumer, tokens []string) error {
	return c.settle(ctx, consumer, tokens, func(leases []Lease, i int) { leases[i].Until = ended })
}

// AckUpTo ends the lease of token and of all messages before it.
// Errors: as for [Consumers.Ack].
func (c *Consumers) AckUpTo(ctx context.Context, consumer Consumer, token string) error {
	return c.settle(ctx, consumer, []string{token}, func(leases []Lease, i int) {
		for j := range leases[:i+1] {
			leases[j].Until = ended
		}
	})
}

// Nack ends the leases of tokens so that the messages are handed out again
// after delay. One that was delivered as often as it may be goes to the
// dead-letter topic. Errors: as for [Consumers.Ack].
func (c *Consumers) Nack(ctx context.Context, consumer Consumer, tokens []string, delay time.Duration) error {
	return c.endAfter(ctx, consumer, tokens, delay)
}

// Extend makes the leases of tokens end a time from now.
// Errors: as for [Consumers.Ack].
func (c *Consumers) Extend(ctx context.Context, consumer Consumer, tokens []string, lease time.Duration) error {
	return c.endAfter(ctx, consumer, tokens, lease)
}

func (c *Consumers) endAfter(ctx context.Context, consumer Consumer, tokens []string, d time.Duration) error {
	return c.settle(ctx, consumer, tokens, func(leases []Lease, i int) { leases[i].Until = endAfter(time.Now(), d) })
}

// endAfter is the end of a lease of that length, rounded up: none is over early.
// One of no length is over.
func endAfter(now time.Time, d time.Duration) int64 {
	if d <= 0 {
		return now.UnixMilli()
	}
	return now.Add(d + time.Millisecond - 1).UnixMilli()
}

// settle changes the leases of tokens and stores all of it at once.
func (c *Consumers) settle(ctx context.Context, consumer Consumer, tokens []string, change func(leases []Lease, i int)) error {
	if consumer.Lease == 0 {
		return &ModeError{"acknowledging", "lease"}
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
