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
	if outer, ok := c.Context().Conn().(*transport.Conn); ok {
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
		return &jetstream.TopicNotFoundError{Topic: hidden.Topic}
	}
	return err
}

// allow checks r against the topic in its path, if there is one.
func allow(c *fiber.Ctx, r route) error {
	if !strings.Contains(r.path, "/:topic") {
		return nil
	}
	topic, err := decode.PathParameter(c, "topic")
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

// hide takes out of err what its message tells of topics that p may not see.
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
