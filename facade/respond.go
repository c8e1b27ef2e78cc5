package facade

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"

	"dq/jetstream"
)

// A response is what a handler answers with. [Facade.serve] calls its write once the call has succeeded and its changes
// are on disk; after an error it is not written.
//
// Besides the types below there are [eventStream] and [socketUpgrade].
type response interface {
	write(c *fiber.Ctx) error
}

// classicSuccess is the answer of a classic call that has nothing to report but its success.
type classicSuccess struct{}

var classicSuccessBody = []byte(`{"status":"success"}`)

func (classicSuccess) write(c *fiber.Ctx) error {
	writeBody(c, fiber.MIMEApplicationJSON, classicSuccessBody)
	return nil
}

// classicText is the answer of a classic call whose message is a text. It is written without reflection, because a
// client calls consume once for each message.
type classicText struct {
	message []byte
	hold    *readHold // nil if it takes little memory
}

// Close implements [io.Closer]. It is called if the answer is not written.
func (s *classicText) Close() error {
	s.hold.Give()
	return nil
}

func (s *classicText) write(c *fiber.Ctx) error {
	// The error says that the text is not valid UTF-8. Then the body has replacement characters.
	body, _ := jsontext.AppendQuote([]byte(`{"status":"success","message":`), s.message)
	s.hold.write(c, fiber.MIMEApplicationJSON, append(body, '}'))
	return nil
}

// A jsonReply is an answer with a JSON body.
type jsonReply[T any] struct {
	status int
	body   T
}

// reply returns the answer with an HTTP status and a body that is written as JSON.
func reply[T any](status int, body T) response { return &jsonReply[T]{status, body} }

func (r *jsonReply[T]) write(c *fiber.Ctx) error { return writeJSON(c, r.status, &r.body) }

// A heldReply is an answer with a JSON body that holds memory until the client has taken it.
type heldReply[T any] struct {
	body T
	hold *readHold
}

func (r *heldReply[T]) write(c *fiber.Ctx) error {
	body, err := json.Marshal(&r.body, jsonOptions)
	if err != nil {
		r.hold.Give()
		return err
	}
	r.hold.write(c, fiber.MIMEApplicationJSON, body)
	return nil
}

// Close implements [io.Closer]. It is called if the answer is not written.
func (r *heldReply[T]) Close() error {
	r.hold.Give()
	return nil
}

// noContent is the answer of a call that succeeded and has nothing to report.
type noContent struct{}

func (noContent) write(c *fiber.Ctx) error { return c.SendStatus(fiber.StatusNoContent) }

// rawMessage is the answer that is a message as it is: its data is the body, its other fields are in headers.
type rawMessage struct {
	jetstream.Delivery
	hold *readHold
}

// Close implements [io.Closer]. It is called if the answer is not written.
func (m *rawMessage) Close() error {
	m.hold.Give()
	return nil
}

func (m *rawMessage) write(c *fiber.Ctx) error {
	contentType := fiber.MIMEOctetStream
	if m.ContentType != "" {
		contentType = printable(m.ContentType)
	}
	header := &c.Response().Header
	header.Set(sequenceHeader, strconv.FormatUint(m.Sequence, 10))
	header.Set(timeHeader, m.Time.Format(time.RFC3339Nano))
	if m.Key != "" {
		header.Set(keyHeader, printable(m.Key))
	}

	// NATS clients can store headers that HTTP does not allow.
	for name, value := range m.Headers {
		if jetstream.ValidHeader(name) {
			header.Set(headerPrefix+name, printable(value))
		}
	}
	if m.Token != "" {
		header.Set(tokenHeader, m.Token)
		header.Set(deliveriesHeader, strconv.Itoa(m.Deliveries))
	}

	// A message is data, whatever its producer says it is: it must not run as a page of this origin.
	header.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	header.Set(fiber.HeaderContentSecurityPolicy, "sandbox; default-src 'none'; frame-ancestors 'none'")
	header.Set(fiber.HeaderContentDisposition, "attachment")

	c.Status(fiber.StatusOK)
	m.hold.write(c, contentType, m.Data)
	return nil
}

// printable returns text with spaces in place of control characters, which an HTTP header cannot have.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if control(r) {
			return ' '
		}
		return r
	}, text)
}

// jsonOptions replaces bytes that are not valid UTF-8, which NATS clients can store, with replacement characters.
var jsonOptions = jsontext.AllowInvalidUTF8(true)

// writeJSON answers with an HTTP status and the JSON of value.
func writeJSON(c *fiber.Ctx, status int, value any) error {
	body, err := json.Marshal(value, jsonOptions)
	if err != nil {
		return err
	}
	c.Status(status)
	writeBody(c, fiber.MIMEApplicationJSON, body)
	return nil
}

// writeBody sets the body of an answer. The caller must not change body any more.
func writeBody(c *fiber.Ctx, contentType string, body []byte) {
	c.Context().SetContentType(contentType)
	c.Response().SetBodyRaw(body)
}
