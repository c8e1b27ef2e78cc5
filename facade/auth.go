package facade

import (
	"crypto/tls"
	"errors"
	"strings"

	"github.com/gofiber/fiber/v2"

	"dq/facade/access"
	"dq/facade/decode"
	"dq/facade/service"
	"dq/facade/transport"
	"dq/jetstream"
	"dq/registry"
)

// A caller is the client that makes a request. The request's locals hold it under callerKey.
type caller struct {
	principal *access.Principal
	topic     string               // the topic of the call, for the audit log
	cert      *tls.ConnectionState // whose client certificate names the principal; nil if a token does
	reserved  int                  // bytes of the answer
}

// reserve returns how many of most bytes of messages the answer may have. One message is always allowed.
func (c *caller) reserve(most int) int {
	n := c.principal.Reserve(most)
	c.reserved += n
	return n
}

const callerKey = "dq-caller"

// A need is what a token must grant for a call. A handler whose topic is not in the path checks it itself.
type need struct {
	scopes  []access.Scope // one of them; none: any scope at all
	creates bool           // the topic need not exist
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

// authenticate finds the caller of a request and counts the request, before its body is read.
func (f *Facade) authenticate(c *fiber.Ctx) error {
	if f.opts.Tokens == nil && f.opts.Audit == nil {
		return c.Next()
	}
	client := &caller{principal: access.Anyone}
	c.Locals(callerKey, client)
	if f.opts.Tokens == nil || public(c.Path()) {
		return c.Next()
	}

	err := f.identify(c, client)
	if err == nil {
		err = client.principal.Take()
	}
	if err != nil {
		if c.Request().IsBodyStream() {
			c.Context().SetConnectionClose() // the body is not read
		}
		return err
	}

	defer func() { client.principal.Release(client.reserved) }()
	if err := c.Next(); err != nil {
		return err // the answer that reports it is charged by fail
	}
	chargeAnswer(c)
	return nil
}

// chargeAnswer counts the answer against the caller's limit of bytes.
func chargeAnswer(c *fiber.Ctx) {
	payer := payerOf(c)
	switch {
	case payer == nil:
	case c.Response().IsBodyStream(): // without a length if it has no end: then the session charges
		payer.Charge(max(c.Response().Header.ContentLength(), 0))
	default:
		payer.Charge(len(c.Response().Body()))
	}
}

// identify finds the principal of a request: the holder of the token in its header or, without one, the owner of the
// connection's client certificate. It audits a request that has neither. A connection whose certificate is no longer
// accepted is closed: the client needs a new one.
func (f *Facade) identify(c *fiber.Ctx, client *caller) (err error) {
	authorization := c.Request().Header.Peek(fiber.HeaderAuthorization)
	state := tlsState(c)
	if state != nil && len(authorization) == 0 {
		client.cert = state
		if err = f.opts.TLS.Check(state); err != nil {
			c.Context().SetConnectionClose()
		}
	}
	if err == nil {
		var known *access.Principal
		if known, err = f.opts.Tokens.Authenticate(authorization, state); err == nil {
			client.principal = known
		}
	}

	var unknown *access.UnauthenticatedError
	if f.opts.Audit != nil && errors.As(err, &unknown) {
		f.opts.Audit.Refuse(access.Login{
			Client:    transport.ClientOf(c.Context().RemoteAddr()),
			Operation: c.Method() + " " + c.Route().Path,
			Reason:    unknown.Reason,
		})
	}
	return err
}

// public reports whether a path needs no token.
func public(path string) bool {
	switch path {
	case livePath, readyPath, descriptionPath:
		return true
	}
	return strings.HasPrefix(path, docsPath)
}

// tlsState returns the state of the request's connection, or nil if it is not encrypted.
func tlsState(c *fiber.Ctx) *tls.ConnectionState {
	if outer, ok := c.Context().Conn().(*transport.Conn); ok {
		if inner, ok := outer.Conn.(*tls.Conn); ok {
			state := inner.ConnectionState()
			return &state
		}
	}
	return nil
}

// callerOf returns the client that makes a request. Without access control it may do everything.
func callerOf(c *fiber.Ctx) *caller {
	if client, ok := c.Locals(callerKey).(*caller); ok {
		return client
	}
	return &caller{principal: access.Anyone}
}

// payerOf returns the client whose token pays for the bytes of a request, or nil if it came without one.
func payerOf(c *fiber.Ctx) transport.Payer {
	if client, ok := c.Locals(callerKey).(*caller); ok && client.principal != access.Anyone {
		return client.principal
	}
	return nil
}

// authorize checks the caller's rights to the topic in the path, if the route has one.
func authorize(c *fiber.Ctx, r *route) error {
	if !r.topicInPath {
		return nil
	}
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return err
	}
	return permit(c, topic, r.need)
}

// permit checks that the caller has the rights n on topic, and notes the topic for the audit log.
func permit(c *fiber.Ctx, topic string, n need) error {
	client, ok := c.Locals(callerKey).(*caller)
	if !ok { // no access control
		return nil
	}

	client.topic = topic
	if n.creates {
		return client.principal.RequireToCreate(topic, n.scopes...)
	}
	return asNotFound(client.principal.Require(topic, n.scopes...))
}

// asNotFound makes a topic that the caller may not see look like one that does not exist.
func asNotFound(err error) error {
	var hidden *access.HiddenError
	if errors.As(err, &hidden) {
		return &jetstream.TopicNotFoundError{Topic: hidden.Topic}
	}
	return err
}

// audit records an administrative call and its result.
func (f *Facade) audit(c *fiber.Ctx, r *route, err error) {
	if f.opts.Audit == nil || !r.need.audited {
		return
	}

	code := "ok"
	if err != nil {
		code = problemOf(err).code
	}
	client := callerOf(c)
	f.opts.Audit.Record(access.Call{
		Principal: client.principal.Name(),
		Remote:    c.Context().RemoteAddr().String(),
		Operation: r.method + " " + r.path,
		Topic:     client.topic,
		Code:      code,
	})
}

// hide removes from err the names of topics that p may not see.
func hide(p *access.Principal, err error) error {
	var otherConsumer *service.ConsumerNotRegisteredError
	if errors.As(err, &otherConsumer) && !p.Sees(otherConsumer.OtherTopic) {
		return &jetstream.ConsumerNotFoundError{Consumer: otherConsumer.Consumer}
	}
	var otherProducer *service.ProducerNotRegisteredError
	if errors.As(err, &otherProducer) && !p.Sees(otherProducer.OtherTopic) {
		return &registry.ProducerNotFoundError{Producer: otherProducer.Producer}
	}

	var consumer *jetstream.ConsumerNotFoundError
	if errors.As(err, &consumer) && consumer.Deleted && consumer.Topic != "" && !p.Sees(consumer.Topic) {
		return &jetstream.ConsumerNotFoundError{Consumer: consumer.Consumer}
	}
	var producer *registry.ProducerNotFoundError
	if errors.As(err, &producer) && producer.Deleted && !p.Sees(producer.Topic) {
		return &registry.ProducerNotFoundError{Producer: producer.Producer}
	}

	var letter *jetstream.DeadLetterError
	if errors.As(err, &letter) && !p.Sees(letter.Topic) {
		return &jetstream.DeadLetterError{Sequence: letter.Sequence}
	}
	return err
}
