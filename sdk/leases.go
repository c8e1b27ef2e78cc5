package sdk

import (
	"context"
	"net/http"
	"time"
)

// leaseChange is the body of the calls ack, nack and extend.
type leaseChange struct {
	Tokens []string      `json:"tokens,omitempty"`
	UpTo   string        `json:"up_to,omitzero"` // of ack, instead of Tokens
	Delay  time.Duration `json:"delay,omitzero"` // of nack
	Lease  time.Duration `json:"lease,omitzero"` // of extend
}

// Ack acknowledges messages, 1 to 10,000: they are not delivered again. It fails
// with [ErrLeaseLost] if the leases of some have ended, so that another worker may
// have them by now; the others are acknowledged. A call that had to be repeated
// can fail so although the messages are acknowledged. Other errors:
// [ErrWrongMode], and those of [Subscription.Describe].
func (s *Subscription) Ack(ctx context.Context, tokens ...string) error {
	return s.changeLeases(ctx, "ack", leaseChange{Tokens: tokens})
}

// AckUpTo acknowledges a message and all that were handed out before it, to any
// worker. Errors: those of [Subscription.Ack].
func (s *Subscription) AckUpTo(ctx context.Context, token string) error {
	return s.changeLeases(ctx, "ack", leaseChange{UpTo: token})
}

// Nack gives messages back, 1 to 10,000, to be delivered again after a delay of 0
// to 12 hours. Errors: those of [Subscription.Ack], [ErrInvalidField].
func (s *Subscription) Nack(ctx context.Context, delay time.Duration, tokens ...string) error {
	return s.changeLeases(ctx, "nack", leaseChange{Tokens: tokens, Delay: delay})
}

// Extend makes the leases of messages, 1 to 10,000, end after that time from now:
// 100ms to 12h, or the consumer's own lease if it is 0. Errors: those of
// [Subscription.Ack], [ErrInvalidField].
func (s *Subscription) Extend(ctx context.Context, lease time.Duration, tokens ...string) error {
	return s.changeLeases(ctx, "extend", leaseChange{Tokens: tokens, Lease: lease})
}

// changeLeases makes the call ack, nack or extend.
func (s *Subscription) changeLeases(ctx context.Context, operation string, body leaseChange) error {
	call := s.call(http.MethodPost, operation)
	call.body, call.repeatable = body, true
	return s.topic.client.do(ctx, call)
}
