package facade

import (
	"context"
	"io"

	"github.com/gofiber/fiber/v2"

	"dq/facade/transport"
)

// serve turns a route into a handler of the HTTP server. Its error goes to reportFailures.
func (f *Facade) serve(r route) fiber.Handler {
	return func(c *fiber.Ctx) error {
		// Not derived from the request: that ends when the server shuts down, and calls under way must finish.
		ctx := transport.WithTimeout(f.opts.RequestTimeout)
		defer ctx.Free()

		answer, err := f.call(ctx, c, &r)
		f.audit(c, &r, err)
		if err != nil {
			return hide(callerOf(c).principal, err)
		}

		if err := answer.write(c); err != nil {
			return err
		}
		c.Set(fiber.HeaderCacheControl, "no-store")
		return nil
	}
}

// call authorizes a call and runs its handler. If it returns without an error, all changes are on disk.
func (f *Facade) call(ctx context.Context, c *fiber.Ctx, r *route) (response, error) {
	if f.opts.Starting != nil {
		if err := f.opts.Starting(); err != nil {
			return nil, &notReadyError{err}
		}
	}
	if err := authorize(c, r); err != nil {
		return nil, err
	}
	if err := r.checkQuery(c); err != nil {
		return nil, err
	}

	answer, err := r.handle(ctx, c)
	if err != nil {
		return nil, err
	}

	// An answer promises that the change survives a power cut.
	if r.mutates {
		if err := f.sync(ctx); err != nil {
			if held, ok := answer.(io.Closer); ok {
				_ = held.Close()
			}
			return nil, err
		}
	}
	return answer, nil
}

// sync flushes everything that was stored so far to disk, if the broker is configured to.
func (f *Facade) sync(ctx context.Context) error {
	if f.opts.Sync == nil {
		return nil
	}
	return f.opts.Sync(ctx)
}

// reportFailures returns a handler that answers when a later handler returns an error, in the form of an API.
func (f *Facade) reportFailures(form api) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := c.Next(); err != nil {
			return f.fail(c, form, err)
		}
		return nil
	}
}
