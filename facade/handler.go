package facade

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"dq/facade/transport"
)

// serve turns a route into a handler of the HTTP server.
func (f *Facade) serve(r route) fiber.Handler {
	return func(c *fiber.Ctx) error {
		// Not a child of the request's own context: that ends as soon as the
		// server shuts down, and what is under way is to be finished.
		ctx := transport.WithTimeout(f.opts.RequestTimeout)
		defer ctx.Free()
		err := allow(c, r)
		if err == nil {
			err = r.checkQuery(c)
		}
		var value any
		if err == nil {
			value, err = r.handle(ctx, c)
		}
		if err == nil && r.changes() {
			err = f.sync(ctx)
		}
		f.audit(c, r, err)
		if err != nil {
			return hide(callerOf(c).principal, err)
		}
		c.Set(fiber.HeaderCacheControl, "no-store")
		switch out := value.(type) {
		case success:
			return out.write(c)
		case reply:
			return writeJSON(c, out.status, out.body)
		}
		return nil // the handler has written it
	}
}

func (f *Facade) sync(ctx context.Context) error {
	if f.opts.Sync == nil {
		return nil
	}
	return f.opts.Sync(ctx)
}
