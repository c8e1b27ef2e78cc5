package facade

import (
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"dq/facade/decode"
	"dq/jetstream"
)

func TestProduce_RawMessageIsTheBodyAndTheHeaders(t *testing.T) {
	t.Parallel()
	body := []byte("\xff\x00 is no JSON")
	c := newRequest(t, body, map[string]string{
		"Content-Type":    "image/png",
		"Dq-Key":          "k",
		"Dq-Ttl":          "1m",
		"Dq-Header-Trace": "abc",
		"Idempotency-Key": "i",
	})

	drafts, err := draftsOf(c, false)
	copy(body, "overwritten")

	require.NoError(t, err)
	assert.Equal(t, []jetstream.Draft{{
		Key:         "k",
		ContentType: "image/png",
		Headers:     map[string]string{"Trace": "abc"},
		Data:        []byte("\xff\x00 is no JSON"),
		ID:          "i",
		TTL:         time.Minute,
	}}, drafts)
}

func TestProduce_BatchNumbersTheIdempotencyKey(t *testing.T) {
	t.Parallel()
	headers := map[string]string{"Content-Type": "application/json", "Idempotency-Key": "i"}
	c := newRequest(t, []byte(`[{"data":"a"},{"data":"b","idempotency_key":"own"},{"data":"c"}]`), headers)

	drafts, err := draftsOf(c, false)

	require.NoError(t, err)
	assert.Equal(t, []jetstream.Draft{
		{Data: []byte("a"), ID: "i/0"},
		{Data: []byte("b"), ID: "own"},
		{Data: []byte("c"), ID: "i/2"},
	}, drafts)
}

func TestProduce_DelayAndTimeExcludeEachOther(t *testing.T) {
	t.Parallel()
	c := newRequest(t, nil, map[string]string{"Dq-Delay": "1h", "Dq-Deliver-At": "2026-01-31T12:00:00Z"})

	_, err := draftsOf(c, true)

	var field *decode.FieldError
	require.ErrorAs(t, err, &field)
	assert.Equal(t, "delay", field.Field)
}

// newRequest returns the context of a request with a body and headers.
func newRequest(t *testing.T, body []byte, headers map[string]string) *fiber.Ctx {
	t.Helper()
	app := fiber.New()
	c := app.AcquireCtx(&fasthttp.RequestCtx{})
	t.Cleanup(func() { app.ReleaseCtx(c) })
	for name, value := range headers {
		c.Request().Header.Set(name, value)
	}
	c.Request().SetBodyRaw(body)
	return c
}
