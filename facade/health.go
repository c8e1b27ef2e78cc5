package facade

import (
	"context"
	"errors"

	"github.com/gofiber/fiber/v2"

	"dq/jetstream"
)

const (
	livePath  = "/livez"
	readyPath = "/readyz"
)

// livez answers that the process serves HTTP.
func (f *Facade) livez(c *fiber.Ctx) error {
	return classicSuccess{}.write(c)
}

// A readiness is the answer of a broker that does its work, if not all of it.
type readiness struct {
	Status      string `json:"status"`
	AcceptsData bool   `json:"accepts_data"`
	Message     string `json:"message,omitzero"` // why it does not accept data
}

// readyz answers whether the broker can do its work. A broker whose disk is full can: who takes it out of service then
// cuts off the readers and the deletions that would make room.
func (f *Facade) readyz(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(context.Background(), f.opts.RequestTimeout)
	defer cancel()
	if f.leaving.Load() {
		return &notReadyError{errors.New("the broker is about to stop")}
	}

	err := f.opts.Ready(ctx)
	var full *jetstream.StorageFullError
	switch {
	case errors.As(err, &full):
		return writeJSON(c, fiber.StatusOK, &readiness{Status: "success", Message: full.Error()})
	case err != nil:
		return &notReadyError{err}
	}
	return writeJSON(c, fiber.StatusOK, &readiness{Status: "success", AcceptsData: true})
}

// notReadyError says why the broker cannot do its work now.
type notReadyError struct{ reason error }

func (e *notReadyError) Error() string { return e.reason.Error() }
