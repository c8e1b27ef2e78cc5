package facade

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"dq/facade/access"
	"dq/facade/service"
)

// createWithinQuota calls create if the caller may make one more topic, or if
// topic is there.
func (f *Facade) createWithinQuota(ctx context.Context, c *fiber.Ctx, topic string, create func(context.Context) error) error {
	p := callerOf(c).principal
	return p.Topics().Do(ctx, func(ctx context.Context) (int, error) {
		topics, err := f.queue.Topics.List(ctx)
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
	_, err := f.queue.FirstSequence(ctx, topic, service.Start{New: true})
	return false, err
}

// registerWithinQuota calls register if the caller may make one more consumer.
func (f *Facade) registerWithinQuota(ctx context.Context, c *fiber.Ctx, register func(context.Context) error) error {
	p := callerOf(c).principal
	return p.Consumers().Do(ctx, func(ctx context.Context) (int, error) {
		return f.queue.Registry.CountConsumers(ctx, p.Sees)
	}, register)
}
