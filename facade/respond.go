package facade

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"
)

// success is the answer of a classic call. Message is a text or, for the list
// of topics, their names.
type success struct {
	Status     string  `json:"status"`
	Message    any     `json:"message,omitzero"`
	ProducerID *int64  `json:"producer_id,omitzero"`
	ConsumerID *int64  `json:"consumer_id,omitzero"`
	Size       *uint64 `json:"size,omitzero"`
}

// done is the answer that says no more than that.
var done = []byte(`{"status":"success"}`)

func (s success) write(c *fiber.Ctx) error {
	if s == (success{}) {
		c.Context().SetContentType(fiber.MIMEApplicationJSON)
		c.Response().SetBodyRaw(done)
		return nil
	}
	if text, ok := s.Message.(string); ok { // what consume answers, without reflection
		body, err := jsontext.AppendQuote([]byte(`{"status":"success","message":`), text)
		if err == nil {
			c.Context().SetContentType(fiber.MIMEApplicationJSON)
			c.Response().SetBodyRaw(append(body, '}'))
			return nil
		}
	}
	s.Status = "success"
	return writeJSON(c, fiber.StatusOK, &s)
}

// failure is the answer of a call that was refused or failed.
type failure struct {
	Status  string `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// jsonOptions: what a NATS client stored may not be valid UTF-8. It is told with
// replacement characters rather than not at all.
var jsonOptions = jsontext.AllowInvalidUTF8(true)

func writeJSON(c *fiber.Ctx, status int, value any) error {
	if value == nil {
		return c.SendStatus(status)
	}
	body, err := json.Marshal(value, jsonOptions)
	if err != nil {
		return err
	}
	c.Context().SetContentType(fiber.MIMEApplicationJSON)
	c.Status(status).Response().SetBodyRaw(body)
	return nil
}

// reply is the answer of a call under /v1.
type reply struct {
	status int
	body   any // nil: none
}

func ok(body any) reply { return reply{fiber.StatusOK, body} }

func created(body any) reply { return reply{fiber.StatusCreated, body} }

var noContent = reply{fiber.StatusNoContent, nil}
