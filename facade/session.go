package facade

import (
	"context"
	"errors"
	"time"

	"github.com/gofiber/fiber/v2"

	"dq/facade/access"
	"dq/facade/transport"
)

// A session is work that takes longer than a request may: a stream, or a long
// poll. The caller's token may be revoked meanwhile, or expire.
type session struct {
	tokens    *access.Tokens // nil if there is no access control
	principal *access.Principal
	topic     string
}

func (f *Facade) session(c *fiber.Ctx, topic string) *session {
	return &session{f.opts.Tokens, callerOf(c).principal, topic}
}

// onChange calls wake as soon as the caller may have to be checked again.
func (s *session) onChange(wake func()) (stop func() bool) {
	if s.tokens == nil {
		return func() bool { return true }
	}
	return s.tokens.OnChange(s.principal, wake)
}

// check fails when the caller may not go on. It counts what was sent.
func (s *session) check(sent ...messageView) error {
	if s.tokens == nil {
		return nil
	}
	p, err := s.tokens.Renew(s.principal)
	if err != nil {
		return err
	}
	for i := range sent {
		p.Charge(sent[i].size())
	}
	return visible(p.Require(s.topic, toConsume.scopes...))
}

// some returns the next messages, if the caller may have them. What was taken is
// returned even if it may no more: it would be lost.
func (s *session) some(ctx context.Context, next func(context.Context) ([]messageView, error)) ([]messageView, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	views, err := next(ctx)
	return views, errors.Join(hide(s.principal, err), s.check(views...))
}

// waiting returns a context that ends after wait, when the client hangs up, when
// the broker stops, and when tokens change. Stop ends it before the handler returns.
func (f *Facade) waiting(c *fiber.Ctx, wait time.Duration) (_ context.Context, stop func(), err error) {
	ctx, cancel := context.WithTimeout(f.running, wait)
	client, ok := c.Context().Conn().(*transport.Conn)
	if !ok || wait == 0 {
		return ctx, cancel, nil
	}
	leave, err := f.waiters.Acquire(1)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	unwatch := client.OnHangUp(cancel)
	settled := f.session(c, "").onChange(cancel)
	return ctx, func() {
		settled()
		unwatch()
		cancel()
		leave()
	}, nil
}
