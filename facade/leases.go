package facade

import (
	"context"
	"fmt"
	"time"

	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/jetstream"
)

// settlement says what is to become of leases: the body of ack, nack and
// extend, and of the messages of those types on a WebSocket.
type settlement struct {
	Tokens []string            `json:"tokens,omitzero"`
	UpTo   string              `json:"up_to,omitzero"` // ack only
	Delay  jetstream.Duration  `json:"delay,omitzero"` // nack only
	Lease  *jetstream.Duration `json:"lease,omitzero"` // extend only
}

// The operations of a settlement.
const (
	opAck    = "ack"
	opNack   = "nack"
	opExtend = "extend"
)

// check refuses what has no place in the operation op.
func (s *settlement) check(op string) error {
	refuse := func(field, problem string) error { return &decode.FieldError{Field: field, Problem: problem} }
	switch {
	case s.UpTo != "" && op != opAck:
		return refuse("up_to", "is for ack")
	case s.UpTo != "" && len(s.Tokens) > 0:
		return refuse("up_to", "there are tokens too: want one of them")
	case s.UpTo == "" && len(s.Tokens) == 0:
		return &decode.MissingFieldError{Field: "tokens"}
	case len(s.Tokens) > maxMessages:
		return refuse("tokens", fmt.Sprintf("want at most %d", maxMessages))
	case s.Delay != 0 && op != opNack:
		return refuse("delay", "is for nack")
	case s.Delay < 0 || s.Delay > jetstream.Duration(maxLease):
		return refuse("delay", fmt.Sprintf("want 0s to %s", maxLease))
	case s.Lease != nil && op != opExtend:
		return refuse("lease", "is for extend")
	case s.Lease != nil && (*s.Lease < jetstream.Duration(minLease) || *s.Lease > jetstream.Duration(maxLease)):
		return refuse("lease", fmt.Sprintf("want %s to %s", minLease, maxLease))
	}
	return nil
}

// settle does what s says.
func (f *Facade) settle(ctx context.Context, consumer jetstream.Consumer, op string, s *settlement) error {
	if err := s.check(op); err != nil {
		return err
	}
	switch {
	case op == opAck && s.UpTo != "":
		return f.queue.Consumers.AckUpTo(ctx, consumer, s.UpTo)
	case op == opAck:
		return f.queue.Consumers.Ack(ctx, consumer, s.Tokens)
	case op == opNack:
		return f.queue.Consumers.Nack(ctx, consumer, s.Tokens, time.Duration(s.Delay))
	}
	lease := consumer.Lease
	if s.Lease != nil {
		lease = time.Duration(*s.Lease)
	}
	return f.queue.Consumers.Extend(ctx, consumer, s.Tokens, lease)
}

// v1Settle is the handler of ack, nack or extend.
func (f *Facade) v1Settle(op string) func(context.Context, *fiber.Ctx) (any, error) {
	return func(ctx context.Context, c *fiber.Ctx) (any, error) {
		consumer, err := f.consumerOf(ctx, c)
		if err != nil {
			return nil, err
		}
		var in settlement
		if err := decode.StrictJSON(c.BodyRaw(), &in); err != nil {
			return nil, err
		}
		return noContent, f.settle(ctx, consumer, op, &in)
	}
}
