package facade

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/service"
)

func TestSession_LongPollGivesItsPlaceBackOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := New(&service.Service{}, l, Options{RequestTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	f.waiters.Limit = 1
	f.app.Get("/wait", func(c *fiber.Ctx) error {
		_, stop, err := f.waiting(c, time.Minute)
		if err != nil {
			return err
		}
		defer stop()
		stop() // as browse does when it has messages
		return c.SendStatus(fiber.StatusNoContent)
	})
	go func() { _ = f.Serve() }()
	t.Cleanup(func() { assert.NoError(t, f.Shutdown(context.WithoutCancel(t.Context()))) })

	answer, err := http.Get("http://" + l.Addr().String() + "/wait")
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, answer.Body)
	require.NoError(t, answer.Body.Close())

	_, first := f.waiters.Acquire(1)
	_, second := f.waiters.Acquire(1)
	assert.Equal(t, fiber.StatusNoContent, answer.StatusCode)
	assert.NoError(t, first)
	assert.Error(t, second, "one call too many waits")
}
