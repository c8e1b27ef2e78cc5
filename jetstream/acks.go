package jetstream

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"dq/jetstream/engine"
)

// The acknowledgements that the engine understands.
const (
	nakWord      = "-NAK"
	termWord     = "+TERM"
	progressWord = "+WPI"
)

// nakAfter returns the word that has a message delivered again after delay.
func nakAfter(delay time.Duration) []byte {
	if delay <= 0 {
		return []byte(nakWord)
	}
	word := append(make([]byte, 0, 48), nakWord...)
	word = append(word, ` {"delay": `...)
	word = strconv.AppendInt(word, int64(delay), 10)
	return append(word, '}')
}

// ackSubject returns the subject to which a delivery of the durable is acknowledged.
func (d *durable) ackSubject(of delivery) string {
	subject := append(make([]byte, 0, 96), "$JS.ACK."...)
	subject = append(subject, d.stream...)
	subject = append(subject, '.')
	subject = append(subject, d.name...)
	subject = append(subject, '.')
	return string(of.appendAckTail(subject))
}

// Ack acknowledges the messages of tokens: they are never delivered again. It counts as
// long as a message is not acknowledged, also after the lease has ended.
// Errors: [*ModeError], [*LeaseError], [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) Ack(ctx context.Context, consumer Consumer, tokens []string) error {
	return c.onDeliveries(ctx, consumer, tokens, func(deliveries []delivery) error {
		return c.done(ctx, consumer, deliveries, "")
	})
}

// Nack gives the messages of tokens back, to be delivered again after delay. A message
// that was delivered as often as it may be goes to the dead-letter topic. Errors: as for [Consumers.Ack].
func (c *Consumers) Nack(ctx context.Context, consumer Consumer, tokens []string, delay time.Duration) error {
	return c.onDeliveries(ctx, consumer, tokens, func(deliveries []delivery) error {
		again := make([]delivery, 0, len(deliveries))
		var tooOften []delivery
		for _, d := range deliveries {
			if consumer.MaxDeliveries == 0 || d.count < uint64(consumer.MaxDeliveries) {
				again = append(again, d)
			} else {
				tooOften = append(tooOften, d)
			}
		}

		if err := c.say(ctx, consumer, again, nakAfter(delay)); err != nil {
			return err
		}
		return c.inParts(ctx, consumer, tooOften, func(messages []Delivery) error {
			return c.deadLetter(ctx, consumer, messages)
		})
	})
}

// Reject moves the messages of tokens to the dead-letter topic now, with the reason; without a dead-letter topic they
// are dropped. What that topic refuses keeps its lease. Errors: as for [Consumers.Ack], [*DeadLetterError].
func (c *Consumers) Reject(ctx context.Context, consumer Consumer, tokens []string, reason string) error {
	return c.onDeliveries(ctx, consumer, tokens, func(deliveries []delivery) error {
		return c.inParts(ctx, consumer, deliveries, func(messages []Delivery) error {
			_, err := c.moveToDeadLetters(ctx, consumer, messages, deadReason{code: deadRejected, text: reason})
			if unavailable, ok := errors.AsType[*engine.UnavailableError](err); ok {
				return unavailable // a failure of the broker, not of the topic
			}
			return err
		})
	})
}

// inParts reads the messages of deliveries, some at a time, and calls do with them. It leaves out those that are done
// and those that were removed.
func (c *Consumers) inParts(
	ctx context.Context, consumer Consumer, deliveries []delivery, do func([]Delivery) error,
) error {
	var part []Delivery
	bytes := 0
	for i, d := range deliveries {
		m, err := c.topics.Get(ctx, consumer.Topic, d.sequence)
		var gone *NoMessageError
		if err != nil && !errors.As(err, &gone) {
			return err
		}
		if err == nil && !c.isDone(consumer, d) {
			token := c.durables.newToken(consumer, d).String()
			part = append(part, Delivery{Message: m, Deliveries: int(d.count), Token: token})
			bytes += len(m.Data)
		}

		full := bytes >= deadLetterBytes || len(part) == deadLetterMessages
		if len(part) == 0 || !full && i < len(deliveries)-1 {
			continue
		}
		if err := do(part); err != nil {
			return err
		}
		part, bytes = nil, 0
	}
	return nil
}

// Extend moves the end of the leases of tokens to the time lease from now: until then
// the messages are not delivered again. Errors: as for [Consumers.Ack].
func (c *Consumers) Extend(ctx context.Context, consumer Consumer, tokens []string, lease time.Duration) error {
	return c.onDeliveries(ctx, consumer, tokens, func(deliveries []delivery) error {
		return c.say(ctx, consumer, deliveries, nakAfter(lease)) // the engine's own extension has one length only
	})
}

// onDeliveries calls do with the deliveries that tokens name. It returns a [*LeaseError]
// for the tokens that name none, once the call has taken effect for the others.
func (c *Consumers) onDeliveries(
	ctx context.Context, consumer Consumer, tokens []string, do func([]delivery) error,
) error {
	if consumer.Lease == 0 {
		return &ModeError{Operation: "acknowledging", Mode: "lease"}
	}
	deliveries, lost, err := c.parseTokens(ctx, consumer, tokens)
	if err != nil {
		return err
	}
	if len(deliveries) > 0 {
		if err := do(deliveries); err != nil {
			return err
		}
	}
	if len(lost) > 0 {
		return &LeaseError{Tokens: lost}
	}
	return nil
}

// isDone reports whether the message of d is known to be acknowledged.
func (c *Consumers) isDone(consumer Consumer, d delivery) bool {
	acks := c.durables.acks
	return acks != nil && acks.set(consumer.ID, consumer.Generation).has(d.sequence)
}

// done ends deliveries for good, with that acknowledgement; "" is a plain ack. When it returns, their messages are not
// delivered again, even after a crash.
func (c *Consumers) done(ctx context.Context, consumer Consumer, deliveries []delivery, word string) error {
	acks, d := c.durables.acks, c.durable(consumer)
	if acks == nil { // the quorum of a cluster has confirmed
		return c.say(ctx, consumer, deliveries, []byte(word))
	}

	// The engine gets them at once, and need not confirm them, because the journal does.
	sequences := make([]uint64, len(deliveries))
	for i, of := range deliveries {
		sequences[i] = of.sequence
		if err := c.topics.nc.Publish(d.ackSubject(of), []byte(word)); err != nil {
			return engine.Unavailable("acknowledge", err)
		}
	}
	d.acked.Store(true)
	trim, err := acks.add(ctx, consumer, sequences)
	if trim {
		go c.trimAcked(consumer)
	}
	return err
}

// trimAcked removes from the journal acknowledged messages of consumer that the engine will not deliver again.
func (c *Consumers) trimAcked(consumer Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), c.topics.opts.CallTimeout)
	defer cancel()
	_ = c.catchUpNow(ctx, consumer, c.durable(consumer)) // if it fails, the next one does it
}

// catchUp acknowledges again, once after each start of the engine, the messages whose acknowledgements the engine has
// forgotten. Errors: [*TopicNotFoundError], [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) catchUp(ctx context.Context, consumer Consumer, d *durable) error {
	start := c.topics.nc.Stats().Reconnects + 1
	if c.durables.acks == nil || d.caughtUp.Load() == start {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.topics.opts.CallTimeout)
	defer cancel()
	if err := c.catchUpNow(ctx, consumer, d); err != nil {
		return err
	}
	d.caughtUp.Store(start)
	return nil
}

func (c *Consumers) catchUpNow(ctx context.Context, consumer Consumer, d *durable) error {
	set := c.durables.acks.set(consumer.ID, consumer.Generation) // before the engine is asked: a seek begins another
	info, err := c.info(ctx, consumer)
	if err != nil || set.generation != consumer.Generation {
		return err
	}

	set.setFloor(info.AckFloor.Stream)
	for _, sequence := range set.between(info.AckFloor.Stream+1, info.Delivered.Stream) {
		of := delivery{count: 1, sequence: sequence, number: 1}
		if err := c.topics.nc.Publish(d.ackSubject(of), nil); err != nil {
			return engine.Unavailable("acknowledge", err)
		}
	}
	d.acked.Store(true)
	return nil
}

// say sends the engine a word about each of deliveries. When it returns, the engine has
// acted on them.
func (c *Consumers) say(ctx context.Context, consumer Consumer, deliveries []delivery, word []byte) error {
	if len(deliveries) == 0 {
		return nil
	}
	d := c.durable(consumer)
	messages := make([]*nats.Msg, len(deliveries))
	for i, of := range deliveries {
		messages[i] = &nats.Msg{Subject: d.ackSubject(of), Data: word}
	}
	for _, answer := range c.topics.publisher.publish(ctx, messages...) {
		if answer.err != nil {
			return c.durableError(ctx, consumer, "reach the consumer", answer.err)
		}
	}
	return nil
}

// answered returns when the engine has acted on everything that this process has sent
// about deliveries to consumer: it acts on words in their order. This one, about a message that
// cannot exist, changes nothing.
func (c *Consumers) answered(ctx context.Context, consumer Consumer) error {
	nothing := delivery{count: 1, sequence: math.MaxInt64 - 1, number: 1}
	return c.say(ctx, consumer, []delivery{nothing}, []byte(progressWord))
}
