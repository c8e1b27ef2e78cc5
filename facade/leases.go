package facade

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/jetstream"
)

// A leaseRequest is the body of ack, nack, reject and extend. WebSocket messages of these types have the same fields.
type leaseRequest struct {
	Tokens tokenList           `json:"tokens,omitzero"`
	Delay  jetstream.Duration  `json:"delay,omitzero"`  // nack only
	Reason string              `json:"reason,omitzero"` // reject only
	Lease  *jetstream.Duration `json:"lease,omitzero"`  // extend only
}

// A tokenList is the tokens of leases in one call.
type tokenList []string

// UnmarshalJSONFrom implements [json.UnmarshalerFrom]. It counts the tokens while it reads them.
func (l *tokenList) UnmarshalJSONFrom(dec *jsontext.Decoder) (err error) {
	*l, err = decode.List[string](dec, maxMessages, nil)
	return err
}

// The operations on leases.
const (
	opAck    = "ack"
	opNack   = "nack"
	opReject = "reject"
	opExtend = "extend"
)

func (f *Facade) v1Ack(ctx context.Context, c *fiber.Ctx) (response, error) {
	return f.onLeases(ctx, c, opAck)
}

func (f *Facade) v1Nack(ctx context.Context, c *fiber.Ctx) (response, error) {
	return f.onLeases(ctx, c, opNack)
}

func (f *Facade) v1Reject(ctx context.Context, c *fiber.Ctx) (response, error) {
	return f.onLeases(ctx, c, opReject)
}

func (f *Facade) v1Extend(ctx context.Context, c *fiber.Ctx) (response, error) {
	return f.onLeases(ctx, c, opExtend)
}

// onLeases decodes the body and does the operation op on the leases that it names.
func (f *Facade) onLeases(ctx context.Context, c *fiber.Ctx, op string) (response, error) {
	consumer, err := f.consumerOf(ctx, c)
	if err != nil {
		return nil, err
	}
	var in leaseRequest
	if err := decode.StrictJSON(c.BodyRaw(), &in); err != nil {
		return nil, err
	}
	if err := f.changeLeases(ctx, consumer, op, &in); err != nil {
		return nil, err
	}
	return noContent{}, nil
}

// changeLeases checks a request and does the operation op on the leases that it names.
func (f *Facade) changeLeases(ctx context.Context, consumer jetstream.Consumer, op string, in *leaseRequest) error {
	if err := in.check(op); err != nil {
		return err
	}

	switch op {
	case opAck:
		return f.service.Consumers.Ack(ctx, consumer, in.Tokens)
	case opNack:
		return f.service.Consumers.Nack(ctx, consumer, in.Tokens, time.Duration(in.Delay))
	case opReject:
		return f.service.Consumers.Reject(ctx, consumer, in.Tokens, in.Reason)
	}
	lease := consumer.Lease
	if in.Lease != nil {
		lease = time.Duration(*in.Lease)
	}
	return f.service.Consumers.Extend(ctx, consumer, in.Tokens, lease)
}

// deadLetterRefused returns the text of a [*jetstream.DeadLetterError]. It does not name the dead-letter topic, which
// the client may have no right to see.
func deadLetterRefused(err error) string {
	var e *jetstream.DeadLetterError
	errors.As(err, &e)
	return fmt.Sprintf("the dead-letter topic does not take message %d, which keeps its lease: "+
		"who may see that topic finds the reason in dead_letter_problem of the consumer", e.Sequence)
}

// check refuses values out of bounds, and fields that the operation op does not take.
func (r *leaseRequest) check(op string) error {
	refuse := func(field, problem string) error { return &decode.FieldError{Field: field, Problem: problem} }

	switch {
	case len(r.Tokens) == 0:
		return &decode.MissingFieldError{Field: "tokens"}

	case r.Delay != 0 && op != opNack:
		return refuse("delay", "only nack takes it")
	case r.Delay < 0 || r.Delay > jetstream.Duration(maxLease):
		return refuse("delay", fmt.Sprintf("want 0s to %s", maxLease))

	case r.Reason != "" && op != opReject:
		return refuse("reason", "only reject takes it")
	case len(r.Reason) > maxReason || !headerValue(r.Reason):
		return refuse("reason", fmt.Sprintf("want a text of one line, without spaces around it, %d bytes at most", maxReason))

	case r.Lease != nil && op != opExtend:
		return refuse("lease", "only extend takes it")
	case r.Lease != nil && (*r.Lease < jetstream.Duration(minLease) || *r.Lease > jetstream.Duration(maxLease)):
		return refuse("lease", fmt.Sprintf("want %s to %s", minLease, maxLease))
	}
	return nil
}
