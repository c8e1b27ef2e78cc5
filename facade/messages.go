package facade

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/facade/service"
	"dq/jetstream"
)

// The headers that carry what belongs to a raw message.
const (
	idempotencyHeader = "Idempotency-Key"
	keyHeader         = "Dq-Key"
	ttlHeader         = "Dq-Ttl"
	delayHeader       = "Dq-Delay"
	deliverAtHeader   = "Dq-Deliver-At"
	sequenceHeader    = "Dq-Sequence"
	timeHeader        = "Dq-Time"
	tokenHeader       = "Dq-Token"
	deliveriesHeader  = "Dq-Deliveries"
	headerPrefix      = "Dq-Header-"
)

// messageView is a message as clients see it.
type messageView struct {
	Sequence    uint64            `json:"sequence"`
	Time        time.Time         `json:"time"`
	Key         string            `json:"key,omitzero"`
	ContentType string            `json:"content_type,omitzero"`
	Headers     map[string]string `json:"headers,omitempty"`
	Data        *string           `json:"data,omitzero"`
	DataBase64  []byte            `json:"data_base64,omitzero"`
	Token       string            `json:"token,omitzero"`
	Deliveries  int               `json:"deliveries,omitzero"`
}

// size is that of its data, in bytes.
func (v *messageView) size() int {
	if v.Data != nil {
		return len(*v.Data)
	}
	return len(v.DataBase64)
}

func viewMessage(m jetstream.Message) messageView {
	view := messageView{Sequence: m.Sequence, Time: m.Time, Key: m.Key, ContentType: m.ContentType, Headers: m.Headers}
	if utf8.Valid(m.Data) {
		text := string(m.Data)
		view.Data = &text
	} else {
		view.DataBase64 = m.Data
	}
	return view
}

func viewDelivery(d jetstream.Delivery) messageView {
	view := viewMessage(d.Message)
	view.Token, view.Deliveries = d.Token, d.Deliveries
	return view
}

// writeRaw answers with a message as it is. Of what NATS clients may store, HTTP
// has no room for some headers, and for control characters in others.
func writeRaw(c *fiber.Ctx, d jetstream.Delivery) {
	header := &c.Response().Header
	plain := func(text string) string {
		return strings.Map(func(r rune) rune {
			if control(r) {
				return ' '
			}
			return r
		}, text)
	}
	header.SetContentType(fiber.MIMEOctetStream)
	if d.ContentType != "" {
		header.SetContentType(plain(d.ContentType))
	}
	header.Set(sequenceHeader, strconv.FormatUint(d.Sequence, 10))
	header.Set(timeHeader, d.Time.Format(time.RFC3339Nano))
	if d.Key != "" {
		header.Set(keyHeader, plain(d.Key))
	}
	for name, value := range d.Headers {
		if jetstream.ValidHeader(name) {
			header.Set(headerPrefix+name, plain(value))
		}
	}
	if d.Token != "" {
		header.Set(tokenHeader, d.Token)
		header.Set(deliveriesHeader, strconv.Itoa(d.Deliveries))
	}
	c.Status(fiber.StatusOK).Response().SetBodyRaw(d.Data)
}

func (f *Facade) v1GetMessage(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	sequence, err := strconv.ParseUint(c.Params("sequence"), 10, 64)
	if err != nil || sequence == 0 {
		return nil, &decode.FieldError{Field: "sequence", Problem: fmt.Sprintf("want an integer of at least 1, not %.100q", c.Params("sequence"))}
	}
	q := decode.NewQuery(c)
	raw := q.Flag("raw")
	if q.Err() != nil {
		return nil, q.Err()
	}
	m, err := f.queue.Topics.Get(ctx, topic, sequence)
	if err != nil {
		return nil, err
	}
	if raw {
		writeRaw(c, jetstream.Delivery{Message: m})
		return nil, nil
	}
	return ok(viewMessage(m)), nil
}

func (f *Facade) v1Browse(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	stream := c.Accepts(fiber.MIMEApplicationJSON, mimeNDJSON, mimeEvents) == mimeEvents
	q := decode.NewQuery(c)
	from := decode.Parsed(q, "from", service.Start{New: stream}, service.ParseStart)
	r := jetstream.Range{Key: q.Text("key"), Max: q.Number("limit", 1, maxMessages, defaultMessages), MaxBytes: q.Number("max_bytes", 1, maxBytes, defaultBytes)}
	wait := q.Duration("wait", maxWait)
	if q.Err() != nil {
		return nil, q.Err()
	}
	if stream {
		return nil, f.streamTopic(c, topic, from, r.Key)
	}
	if r.From, err = f.queue.FirstSequence(ctx, topic, from); err != nil {
		return nil, err
	}
	ctx, stop, err := f.waiting(c, wait)
	if err != nil {
		return nil, err
	}
	defer stop()
	msgs, err := f.browse(ctx, stop, topic, r)
	if err == nil {
		err = f.session(c, topic).check()
	}
	if err != nil {
		return nil, err
	}
	var out struct {
		Messages []messageView `json:"messages"`
		Next     uint64        `json:"next"`
	}
	out.Next = r.From
	for _, m := range msgs {
		out.Messages = append(out.Messages, viewMessage(m))
		out.Next = m.Sequence + 1
	}
	if c.Accepts(fiber.MIMEApplicationJSON, mimeNDJSON) == mimeNDJSON {
		return nil, writeLines(c, out.Messages)
	}
	return ok(out), nil
}

// browse reads all that r asks for, as one read may bring less. If there is
// nothing it waits for a message until ctx ends; stop ends that.
func (f *Facade) browse(ctx context.Context, stop func(), topic string, r jetstream.Range) (out []jetstream.Message, err error) {
	for {
		msgs, err := f.queue.Topics.ReadWait(ctx, topic, r)
		if err != nil || len(msgs) == 0 {
			return out, err
		}
		out = append(out, msgs...)
		r.From = msgs[len(msgs)-1].Sequence + 1
		r.Max -= len(msgs)
		for _, m := range msgs {
			r.MaxBytes -= len(m.Data)
		}
		if r.Max <= 0 || r.MaxBytes <= 0 {
			return out, nil
		}
		stop()
	}
}

// writeLines answers with a message a line.
func writeLines(c *fiber.Ctx, messages []messageView) error {
	var lines bytes.Buffer
	for i := range messages {
		if err := json.MarshalWrite(&lines, &messages[i], jsonOptions); err != nil {
			return err
		}
		lines.WriteByte('\n')
	}
	c.Context().SetContentType(mimeNDJSON)
	c.Response().SetBodyRaw(lines.Bytes())
	return nil
}
