package facade

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"

	"dq/facade/access"
	"dq/jetstream"
	"dq/registry"
)

// caller is what is known of who makes a request. It is kept with the request.
type caller struct {
	principal *access.Principal
	topic     string // that the call is about, for the audit log
}

// callerKey is where it is kept.
const callerKey = "dq-caller"

// need is what a token has to have for a call. Calls whose topic is not in the
// path see to it themselves, when they know the topic.
type need struct {
	scopes  []access.Scope // one of them; none: any scope at all
	creates bool           // the topic need not be there
	audited bool           // the call is administrative
}

var (
	anyScope    = need{}
	toProduce   = need{scopes: []access.Scope{access.Produce}}
	toConsume   = need{scopes: []access.Scope{access.Consume}}
	toRegister  = need{audited: true} // the handler knows the scope
	toSubscribe = need{scopes: toConsume.scopes, audited: true}
	toManage    = need{scopes: []access.Scope{access.Consume, access.Admin}} // a consumer
	toControl   = need{scopes: toManage.scopes, audited: true}
	toAdmin     = need{scopes: []access.Scope{access.Admin}, audited: true}
	toCreate    = need{scopes: toAdmin.scopes, audited: true, creates: true}
)

// authenticate finds out who makes a request, before its body is read.
func (f *Facade) authenticate(c *fiber.Ctx) error {
	who := &caller{principal: access.Anyone}
	c.Locals(callerKey, who)
	path := c.Path()
	if f.opts.Tokens == nil || path == livePath || path == readyPath || path == descriptionPath || strings.HasPrefix(path, docsPath) {
		return c.Next()
	}
	var err error
	if who.principal, err = f.opts.Tokens.Authenticate(c.Request().Header.Peek(fiber.HeaderAuthorization), tlsState(c)); err == nil {
		err = who.principal.Take(max(c.Request().Header.ContentLength(), 0))
	}
	if err != nil {
		if c.Request().IsBodyStream() {
			c.Context().SetConnectionClose() // the body is not read
		}
		return err
	}
	if err := c.Next(); err != nil {
		return err
	}
	if !c.Response().IsBodyStream() {
		who.principal.Charge(len(c.Response().Body()))
	}
	return nil
}

// tlsState is that of the request's connection, or nil if it is not encrypted.
func tlsState(c *fiber.Ctx) *tls.ConnectionState {
	if outer, ok := c.Context().Conn().(*conn); ok {
		if inner, ok := outer.Conn.(*tls.Conn); ok {
			state := inner.ConnectionState()
			return &state
		}
	}
	return nil
}

func callerOf(c *fiber.Ctx) *caller {
	if who, ok := c.Locals(callerKey).(*caller); ok {
		return who
	}
	return &caller{principal: access.Anyone} // there is no access control
}

// permit returns nil if the caller may do with topic what n says.
func permit(c *fiber.Ctx, topic string, n need) error {
	who, ok := c.Locals(callerKey).(*caller)
	if !ok { // there is no access control
		return nil
	}
	who.topic = topic
	if n.creates {
		return who.principal.RequireToCreate(topic, n.scopes...)
	}
	return visible(who.principal.Require(topic, n.scopes...))
}

// visible makes a topic that the caller may not see one that is not there.
func visible(err error) error {
	var hidden *access.HiddenError
	if errors.As(err, &hidden) {
		return &jetstream.NotFoundError{Topic: hidden.Topic}
	}
	return err
}

// allow checks r against the topic in its path, if there is one.
func allow(c *fiber.Ctx, r route) error {
	if !strings.Contains(r.path, "/:topic") {
		return nil
	}
	topic, err := pathText(c, "topic")
	if err != nil {
		return err
	}
	return permit(c, topic, r.need)
}

// audit writes down an administrative call and what came of it.
func (f *Facade) audit(c *fiber.Ctx, r route, err error) {
	if f.opts.Audit == nil || !r.need.audited {
		return
	}
	code := "ok"
	if err != nil {
		code = problemOf(err).code
	}
	who := callerOf(c)
	f.opts.Audit.Record(access.Call{
		Principal: who.principal.Name(), Remote: c.Context().RemoteAddr().String(),
		Operation: r.method + " " + r.path, Topic: who.topic, Code: code,
	})
}

// createWithinQuota calls create if the caller may make one more topic, or if
// topic is there.
func (f *Facade) createWithinQuota(ctx context.Context, c *fiber.Ctx, topic string, create func(context.Context) error) error {
	p := callerOf(c).principal
	return p.Topics().Do(ctx, func(ctx context.Context) (int, error) {
		topics, err := f.queue.ListTopics(ctx)
		n := 0
		for _, t := range topics {
			if t.Name == topic {
				return 0, nil
			}
			if p.Sees(t.Name) {
				n++
			}
		}
		return n, err
	}, create)
}

// mayMake reports whether the caller may make topic. If it may not, topic has to be
// there.
func (f *Facade) mayMake(ctx context.Context, c *fiber.Ctx, topic string) (bool, error) {
	if callerOf(c).principal.Allows(access.Admin, topic) {
		return true, nil
	}
	_, err := f.queue.Locate(ctx, topic, Place{New: true})
	return false, err
}

// registerWithinQuota calls register if the caller may make one more consumer.
func (f *Facade) registerWithinQuota(ctx context.Context, c *fiber.Ctx, register func(context.Context) error) error {
	p := callerOf(c).principal
	return p.Consumers().Do(ctx, func(ctx context.Context) (int, error) {
		return f.queue.CountConsumers(ctx, p.Sees)
	}, register)
}

// hide takes out of err what its message tells of topics that p may not see.
func hide(p *access.Principal, err error) error {
	var other *NotRegisteredError
	if errors.As(err, &other) && !p.Sees(other.Of) {
		return &registry.NotFoundError{Kind: other.Kind, ID: other.ID}
	}
	var gone *registry.NotFoundError
	if errors.As(err, &gone) && gone.Gone && !p.Sees(gone.Topic) {
		return &registry.NotFoundError{Kind: gone.Kind, ID: gone.ID}
	}
	var letter *jetstream.DeadLetterError
	if errors.As(err, &letter) && !p.Sees(letter.Topic) {
		return &jetstream.DeadLetterError{Sequence: letter.Sequence}
	}
	return err
}

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

// refusalHeaders sets the headers that belong to a refusal.
func refusalHeaders(c *fiber.Ctx, p problem, err error) {
	var unauthenticated *access.UnauthenticatedError
	var rate *access.RateError
	var quota *access.QuotaError
	switch {
	case errors.As(err, &unauthenticated):
		c.Set(fiber.HeaderWWWAuthenticate, unauthenticated.Challenge())
	case errors.As(err, &rate):
		c.Set(fiber.HeaderRetryAfter, fmt.Sprint(int(rate.RetryAfter.Seconds())+1))
	case errors.As(err, &quota):
		c.Set(fiber.HeaderRetryAfter, "60") // only a deletion helps
	case p.status == fiber.StatusUnsupportedMediaType:
		c.Set(fiber.HeaderAcceptEncoding, "identity")
	case p.status == fiber.StatusServiceUnavailable || p.status == fiber.StatusTooManyRequests:
		c.Set(fiber.HeaderRetryAfter, "1")
	}
}
