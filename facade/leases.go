package facade

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/jetstream"
)

// A leaseRequest is the body of ack, nack and extend. WebSocket messages of these types have the same fields.
type leaseRequest struct {
	Tokens tokenList           `json:"tokens,omitzero"`
	UpTo   string              `json:"up_to,omitzero"` // ack only
	Delay  jetstream.Duration  `json:"delay,omitzero"` // nack only
	Lease  *jetstream.Duration `json:"lease,omitzero"` // extend only
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
	opExtend = "extend"
)

func (f *Facade) v1Ack(ctx context.Context, c *fiber.Ctx) (response, error) {
	return f.onLeases(ctx, c, opAck)
}

func (f *Facade) v1Nack(ctx context.Context, c *fiber.Ctx) (response, error) {
	return f.onLeases(ctx, c, opNack)
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

	switch {
	case op == opAck && in.UpTo != "":
		return f.service.Consumers.AckUpTo(ctx, consumer, in.UpTo)
	case op == opAck:
		return f.service.Consumers.Ack(ctx, consumer, in.Tokens)
	case op == opNack:
		return f.service.Consumers.Nack(ctx, consumer, in.Tokens, time.Duration(in.Delay))
	}
	lease := consumer.Lease
	if in.Lease != nil {
		lease = time.Duration(*in.Lease)
	}
	return f.service.Consumers.Extend(ctx, consumer, in.Tokens, lease)
}

// check refuses values out of bounds, and fields that the operation op does not take.
func (r *leaseRequest) check(op string) error {
	refuse := func(field, problem string) error { return &decode.FieldError{Field: field, Problem: problem} }

	switch {
	case r.UpTo != "" && op != opAck:
		return refuse("up_to", "only ack takes it")
	case r.UpTo != "" && len(r.Tokens) > 0:
		return refuse("up_to", "want tokens or up_to, not both")
	case r.UpTo == "" && len(r.Tokens) == 0:
		return &decode.MissingFieldError{Field: "tokens"}

	case r.Delay != 0 && op != opNack:
		return refuse("delay", "only nack takes it")
	case r.Delay < 0 || r.Delay > jetstream.Duration(maxLease):
		return refuse("delay", fmt.Sprintf("want 0s to %s", maxLease))

	case r.Lease != nil && op != opExtend:
		return refuse("lease", "only extend takes it")
	case r.Lease != nil && (*r.Lease < jetstream.Duration(minLease) || *r.Lease > jetstream.Duration(maxLease)):
		return refuse("lease", fmt.Sprintf("want %s to %s", minLease, maxLease))
	}
	return nil
}
