package facade

import (
	"context"
	"errors"

	"github.com/gofiber/fiber/v2"
)

const (
	livePath  = "/livez"
	readyPath = "/readyz"
)

// livez answers that the process serves HTTP.
func (f *Facade) livez(c *fiber.Ctx) error {
	return classicSuccess{}.write(c)
}

// readyz answers whether the broker can do its work.
func (f *Facade) readyz(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(context.Background(), f.opts.RequestTimeout)
	defer cancel()

	if f.leaving.Load() {
		return &notReadyError{errors.New("the broker is about to stop")}
	}
	if err := f.opts.Ready(ctx); err != nil {
		return &notReadyError{err}
	}
	return classicSuccess{}.write(c)
}

// notReadyError says why the broker cannot do its work now.
type notReadyError struct{ reason error }

func (e *notReadyError) Error() string { return e.reason.Error() }
