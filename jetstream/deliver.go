package jetstream

import (
	"context"
	"errors"
	"math"

	"github.com/nats-io/nats.go"
)

const maxSequence = math.MaxInt64

// leaseFetch is one fetch of a consumer in mode lease.
type leaseFetch struct {
	consumers *Consumers
	consumer  Consumer
	durable   *durable
	limits    Limits

	out   []Delivery
	bytes int
}

// fetchLeases delivers messages to a worker; it waits for the first until ctx ends if
// wait is true. What was delivered is always returned.
// Errors: [*TopicNotFoundError], [*ConsumerNotFoundError], [*UnavailableError].
func (c *Consumers) fetchLeases(
	ctx context.Context, consumer Consumer, limits Limits, wait bool,
) ([]Delivery, error) {
	f := &leaseFetch{consumers: c, consumer: consumer, durable: c.durable(consumer), limits: limits}
	if err := c.catchUp(ctx, consumer, f.durable); err != nil {
		return nil, err
	}
	for { // also after a message that was waited for: others may have come with it
		if err := f.takeNow(ctx); err != nil || len(f.out) > 0 || !wait || ctx.Err() != nil {
			return f.out, f.failed(ctx, err)
		}

		m, err := f.durable.waiting.wait(ctx)
		if m == nil {
			return nil, f.failed(ctx, err)
		}
		if err := f.add(ctx, []*nats.Msg{m}); err != nil {
			return nil, f.failed(ctx, err)
		}
	}
}

// failed returns the error of a fetch that failed with err, or nil if it has messages.
func (f *leaseFetch) failed(ctx context.Context, err error) error {
	if err == nil || len(f.out) > 0 {
		return nil
	}
	if errors.Is(err, errNoDurable) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.consumers.topics.opts.CallTimeout)
		defer cancel()
		return f.consumers.durableError(ctx, f.consumer, "fetch", nats.ErrNoResponders)
	}
	return err
}

// takeNow takes what is there now, as far as the limits allow.
func (f *leaseFetch) takeNow(ctx context.Context) error {
	room := room{memory: f.limits.Memory, messages: f.limits.Messages, bytes: f.limits.Bytes}
	give, err := room.take(ctx, f.consumers.topics, f.consumer.Topic)
	if err != nil {
		return err
	}
	defer func() {
		if len(f.out) == 0 {
			give()
		}
	}()

	// A pull that has begun is not given up: its messages would count as delivered.
	ctx = context.WithoutCancel(ctx)
	alone := false // a message is larger than what is left of the bytes: it is the last
	for len(f.out) < f.limits.Messages && f.bytes < f.limits.Bytes {
		call := &takeCall{want: f.limits.Messages - len(f.out), bytes: f.limits.Bytes - f.bytes}
		if alone {
			call.want = 1
		}
		if answer := f.durable.now.submit(ctx, call); answer.err != nil {
			return answer.err
		}
		if err := f.add(ctx, call.messages); err != nil || call.ended && len(call.messages) == 0 {
			return err
		}
		if call.ended && len(f.out) > 0 {
			return nil
		}
		alone = len(call.messages) == 0
	}
	return nil
}

// add adds the messages of a pull to those that the worker gets. It leaves out messages that are done, and messages
// that were delivered too often.
func (f *leaseFetch) add(ctx context.Context, messages []*nats.Msg) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.consumers.topics.opts.CallTimeout)
	defer cancel()
	if latest := f.consumers.Latest; latest != nil && len(messages) > 0 {
		if c, err := latest(ctx, f.consumer.ID); err == nil {
			f.consumer = c
		}
	}
	var done *ackSet
	if acks := f.consumers.durables.acks; acks != nil {
		done = acks.set(f.consumer.ID, f.consumer.Generation)
	}
	var tooOften []Delivery
	for _, m := range messages {
		d, ok := parseAckSubject(m.Reply)
		switch {
		case !ok:
			continue
		case done != nil && done.has(d.sequence): // the engine has forgotten it in a crash
			_ = f.consumers.topics.nc.Publish(m.Reply, nil)
			f.durable.acked.Store(true)
			continue
		}

		out := Delivery{Message: decodeDelivered(m, d), Deliveries: int(d.count)}
		out.Token = f.consumers.durables.newToken(f.consumer, d).String()
		if f.consumer.MaxDeliveries > 0 && out.Deliveries > f.consumer.MaxDeliveries {
			tooOften = append(tooOften, out)
			continue
		}
		f.out = append(f.out, out)
		f.bytes += len(m.Data)
	}
	if len(tooOften) == 0 {
		return nil
	}
	return f.consumers.deadLetter(ctx, f.consumer, tooOften)
}
