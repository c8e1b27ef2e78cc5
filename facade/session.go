package facade

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"dq/facade/access"
	"dq/facade/transport"
)

// A session is work that takes longer than a request may: a stream, a socket, or a long poll. Meanwhile the caller's
// token can be revoked or expire, and so can a client certificate, or its authority.
type session struct {
	tokens    *access.Tokens // nil without access control
	principal *access.Principal
	topic     string

	tls  *access.TLS
	cert *tls.ConnectionState // whose client certificate names the caller; nil if it showed a token
}

func (f *Facade) session(c *fiber.Ctx, topic string) *session {
	client := callerOf(c)
	return &session{
		tokens: f.opts.Tokens, principal: client.principal, topic: topic,
		tls: f.opts.TLS, cert: client.cert,
	}
}

// onChange calls wake as soon as the caller's rights may have changed, until stop is called.
func (s *session) onChange(wake func()) (stop func() bool) {
	if s.tokens == nil {
		return func() bool { return true }
	}
	ignoreTokens := s.tokens.OnChange(s.principal, wake)
	if s.cert == nil {
		return ignoreTokens
	}

	ignoreCerts := s.tls.OnChange(s.cert, wake)
	return func() bool {
		ignoreCerts()
		return ignoreTokens()
	}
}

// check returns an error if the caller has lost its rights. It charges the caller's account for the messages that were
// sent.
func (s *session) check(sent ...messageView) error {
	if s.tokens == nil {
		return nil
	}
	if s.cert != nil {
		if err := s.tls.Check(s.cert); err != nil {
			return err
		}
	}
	p, err := s.tokens.Renew(s.principal)
	if err != nil {
		return err
	}

	for i := range sent {
		p.Charge(sent[i].size())
	}
	return asNotFound(p.Require(s.topic, toConsume.scopes...))
}

// payer returns whose account pays for what is received and sent.
func (s *session) payer() *access.Principal {
	if s.tokens == nil {
		return s.principal
	}
	if p, err := s.tokens.Renew(s.principal); err == nil {
		return p
	}
	return s.principal // which may not go on
}

// nextBatch calls next and returns its messages, if the caller may have them. It can return messages together with an
// error, such as that the token expired meanwhile: they were handed out, and would be lost otherwise.
// A caller with a limit of bytes a second waits first, until the messages before are within it.
func (s *session) nextBatch(
	ctx context.Context, next func(context.Context) ([]messageView, error),
) ([]messageView, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if !s.payer().WaitForBytes(ctx) { // until what was sent before is made up for
		return nil, nil
	}
	views, err := next(ctx)
	var overloaded *transport.OverloadedError
	if errors.As(err, &overloaded) && ctx.Err() != nil {
		err = nil // there was no memory until now: the next call tries again
	}
	return views, errors.Join(hide(s.principal, err), s.check(views...))
}

// waiting returns a context for a long poll. It ends after wait, when the client hangs up, when the broker stops, and
// when tokens change. The handler must call stop before it returns, and may call it more than once.
// Errors: [*transport.OverloadedError].
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
	ignoreChanges := f.session(c, "").onChange(cancel)
	return ctx, sync.OnceFunc(func() {
		ignoreChanges()
		unwatch()
		cancel()
		leave()
	}), nil
}
