package facade

import (
	"context"
	"errors"

	"github.com/gofiber/fiber/v2"
)

const (
	livePath = "/livez"

	readyPath = "/readyz"
)

// readyz says whether the broker can do its work.
func (f *Facade) readyz(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(context.Background(), f.opts.RequestTimeout)
	defer cancel()
	err := f.opts.Ready(ctx)
	if f.leaving.Load() {
		err = errors.New("the broker is about to stop")
	}
	if err != nil {
		c.Set(fiber.HeaderRetryAfter, "1")
		return writeProblem(c, problem{"unavailable", fiber.StatusServiceUnavailable, 0}, err.Error(), err)
	}
	return success{}.write(c)
}
