package facade

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"dq/facade/access"
	"dq/facade/service"
)

// reserveTopic returns an error if the caller may not have one more topic and topic does not exist yet. Otherwise no
// other call with the caller's token can create a topic until release is called.
func (f *Facade) reserveTopic(ctx context.Context, c *fiber.Ctx, topic string) (release func(), err error) {
	p := callerOf(c).principal
	return p.Topics().Reserve(ctx, func(ctx context.Context) (int, error) {
		n := 0
		for name, err := range f.service.Topics.Names(ctx, "", "") {
			switch {
			case err != nil:
				return 0, err
			case name == topic:
				return 0, nil
			case p.Sees(name):
				n++
			}
		}
		return n, nil
	})
}

// reserveConsumer returns an error if the caller may not have one more consumer. Otherwise no other call with the
// caller's token can create a consumer until release is called.
func (f *Facade) reserveConsumer(ctx context.Context, c *fiber.Ctx) (release func(), err error) {
	p := callerOf(c).principal
	return p.Consumers().Reserve(ctx, func(ctx context.Context) (int, error) {
		return f.service.Registry.CountConsumers(ctx, p.Sees)
	})
}

// mayCreate reports whether the caller may create topic. It returns an error if the caller may not and the topic does
// not exist.
func (f *Facade) mayCreate(ctx context.Context, c *fiber.Ctx, topic string) (bool, error) {
	if callerOf(c).principal.Allows(access.Admin, topic) {
		return true, nil
	}
	_, err := f.service.FirstSequence(ctx, topic, service.Start{New: true})
	return false, err
}
