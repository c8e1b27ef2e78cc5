package sdk

import (
	"context"
	"net/http"
	"time"
)

// leaseChange is the body of the calls ack, nack, reject and extend.
type leaseChange struct {
	Tokens []string      `json:"tokens,omitempty"`
	Delay  time.Duration `json:"delay,omitzero"` // of nack
	Lease  time.Duration `json:"lease,omitzero"` // of extend
	Reason string        `json:"reason,omitzero"`
}

// Ack acknowledges messages, 1 to 10,000: they are not delivered again. That counts also
// if the lease of a message has ended and another worker has it. It fails with
// [ErrLeaseLost] if the consumer was moved, or deleted and made again, since some of them
// were handed out; the others are acknowledged. Other errors:
// [ErrWrongMode], and those of [Subscription.Describe].
func (s *Subscription) Ack(ctx context.Context, tokens ...string) error {
	return s.changeLeases(ctx, "ack", leaseChange{Tokens: tokens})
}

// Nack gives messages back, 1 to 10,000, to be delivered again after a delay of 0
// to 12 hours. Errors: those of [Subscription.Ack], [ErrInvalidField].
func (s *Subscription) Nack(ctx context.Context, delay time.Duration, tokens ...string) error {
	return s.changeLeases(ctx, "nack", leaseChange{Tokens: tokens, Delay: delay})
}

// Reject moves messages, 1 to 10,000, to the dead-letter topic now, with a reason of one
// line and at most 1,000 bytes, or without one if it is "". A consumer without a
// dead-letter topic drops them. Errors: those of [Subscription.Ack], [ErrInvalidField],
// [ErrDeadLetterRefused]: then messages may keep their leases.
func (s *Subscription) Reject(ctx context.Context, reason string, tokens ...string) error {
	return s.changeLeases(ctx, "reject", leaseChange{Tokens: tokens, Reason: reason})
}

// Extend makes the leases of messages, 1 to 10,000, end after that time from now:
// 100ms to 12h, or the consumer's own lease if it is 0. Errors: those of
// [Subscription.Ack], [ErrInvalidField].
func (s *Subscription) Extend(ctx context.Context, lease time.Duration, tokens ...string) error {
	return s.changeLeases(ctx, "extend", leaseChange{Tokens: tokens, Lease: lease})
}

// changeLeases makes the call ack, nack, reject or extend.
func (s *Subscription) changeLeases(ctx context.Context, operation string, body leaseChange) error {
	call := s.call(http.MethodPost, operation)
	call.body, call.repeatable = body, true
	return s.topic.client.do(ctx, call)
}
