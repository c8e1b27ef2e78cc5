package facade

import (
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/assert"
	"github.com/valyala/fasthttp"
)

func TestAccept_PreferredTypeIsChosenAndTheRequestLeftAlone(t *testing.T) {
	t.Parallel()
	app := fiber.New()
	for header, want := range map[string]string{
		"":                                 fiber.MIMEApplicationJSON,
		"*/*":                              fiber.MIMEApplicationJSON,
		"*":                                fiber.MIMEApplicationJSON,
		"application/*":                    fiber.MIMEApplicationJSON,
		"text/*":                           mimeEvents,
		"TEXT/event-stream; charset=utf-8": mimeEvents,
		"*/*, application/x-ndjson":        mimeNDJSON,
		"application/json;q=0.5, text/event-stream": mimeEvents,
		"application/x-ndjson, application/json":    mimeNDJSON,
		"text/event-stream;q=0, */*;q=0.1":          fiber.MIMEApplicationJSON,
		"text/event-stream;q=x":                     "",
		"image/png":                                 "",
		"text/;;, text/event-stream":                mimeEvents,
	} {
		request := &fasthttp.RequestCtx{}
		request.Request.Header.Set(fiber.HeaderAccept, header)
		c := app.AcquireCtx(request)
		before := c.Request().Header.String()

		got := accepted(c, fiber.MIMEApplicationJSON, mimeNDJSON, mimeEvents)

		assert.Equal(t, want, got, header)
		assert.Equal(t, before, c.Request().Header.String(), "the request stays as it was")
		app.ReleaseCtx(c)
	}
}
