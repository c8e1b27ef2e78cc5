package facade

import (
	"bytes"
	"context"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/facade/service"
	"dq/jetstream"
)

// The headers that carry the fields of a raw message.
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

// messageView is the JSON of a message. Data that is not valid UTF-8 is in DataBase64.
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

// size returns the size of the message's data, in bytes.
func (v *messageView) size() int {
	if v.Data != nil {
		return len(*v.Data)
	}
	return len(v.DataBase64)
}

func viewMessage(m jetstream.Message) messageView {
	view := messageView{
		Sequence:    m.Sequence,
		Time:        m.Time,
		Key:         m.Key,
		ContentType: m.ContentType,
		Headers:     m.Headers,
	}
	if utf8.Valid(m.Data) {
		text := string(m.Data)
		view.Data = &text
	} else {
		view.DataBase64 = m.Data
	}
	return view
}

func viewDeliveries(deliveries []jetstream.Delivery) []messageView {
	views := make([]messageView, len(deliveries))
	for i, d := range deliveries {
		views[i] = viewMessage(d.Message)
		views[i].Token, views[i].Deliveries = d.Token, d.Deliveries
	}
	return views
}

func (f *Facade) v1GetMessage(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	sequence, err := strconv.ParseUint(c.Params("sequence"), 10, 64)
	if err != nil || sequence == 0 {
		problem := fmt.Sprintf("want an integer of at least 1, not %.100q", c.Params("sequence"))
		return nil, &decode.FieldError{Field: "sequence", Problem: problem}
	}
	q := decode.NewQuery(c)
	raw := q.Flag("raw")
	if q.Err() != nil {
		return nil, q.Err()
	}

	m, err := f.service.Topics.Get(ctx, topic, sequence)
	if err != nil {
		return nil, err
	}
	if raw {
		return &rawMessage{jetstream.Delivery{Message: m}}, nil
	}
	return reply(fiber.StatusOK, viewMessage(m)), nil
}

// browsed is the answer to a browse that is not a stream. Next is the sequence from which the next call reads.
type browsed struct {
	Messages []messageView `json:"messages"`
	Next     uint64        `json:"next"`
}

// v1Browse reads messages of a topic without a consumer. The Accept header chooses JSON, NDJSON or a stream.
func (f *Facade) v1Browse(ctx context.Context, c *fiber.Ctx) (response, error) {
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	stream := accepted(c, fiber.MIMEApplicationJSON, mimeNDJSON, mimeEvents) == mimeEvents &&
		c.Method() != fiber.MethodHead // a stream has no end
	q := decode.NewQuery(c)
	from := decode.Parsed(q, "from", service.Start{New: stream}, service.ParseStart)
	r := jetstream.Range{
		Key:      q.Text("key"),
		Max:      q.Number("limit", 1, maxMessages, defaultMessages),
		MaxBytes: q.Number("max_bytes", 1, maxBytes, defaultBytes),
	}
	wait := q.Duration("wait", maxWait)
	if q.Err() != nil {
		return nil, q.Err()
	}

	if stream {
		return f.streamTopic(ctx, c, topic, from, r.Key)
	}
	if r.From, err = f.service.FirstSequence(ctx, topic, from); err != nil {
		return nil, err
	}
	r.MaxBytes = callerOf(c).reserve(r.MaxBytes)
	msgs, err := f.browseWaiting(c, topic, r, wait)
	if err != nil {
		return nil, err
	}

	out := browsed{Next: r.From}
	for _, m := range msgs {
		out.Messages = append(out.Messages, viewMessage(m))
		out.Next = m.Sequence + 1
	}
	if accepted(c, fiber.MIMEApplicationJSON, mimeNDJSON) == mimeNDJSON {
		return messageLines(out.Messages), nil
	}
	return reply(fiber.StatusOK, out), nil
}

// accepted returns which of the media types the client prefers. It compares them without regard to case and to
// parameters such as charset. Several headers are as one.
func accepted(c *fiber.Ctx, types ...string) string {
	headers := bytes.Join(c.Request().Header.PeekAll(fiber.HeaderAccept), []byte(","))
	ranges := strings.Split(string(headers), ",")
	for i, text := range ranges {
		name, parameters, err := mime.ParseMediaType(text)
		if err != nil {
			continue
		}
		ranges[i] = name
		if q, ok := parameters["q"]; ok {
			ranges[i] += ";q=" + q
		}
	}
	c.Request().Header.Set(fiber.HeaderAccept, strings.Join(ranges, ","))
	return c.Accepts(types...)
}

// browseWaiting reads messages, and waits for the first one as long as the client asked.
func (f *Facade) browseWaiting(
	c *fiber.Ctx, topic string, r jetstream.Range, wait time.Duration,
) ([]jetstream.Message, error) {
	ctx, stop, err := f.waiting(c, wait)
	if err != nil {
		return nil, err
	}
	defer stop()

	msgs, err := f.browse(ctx, stop, topic, r)
	if err != nil {
		return nil, err
	}
	return msgs, f.session(c, topic).check() // the token may have ended meanwhile
}

// browse reads all messages of r, in several reads if one returns fewer. It waits for the first message until ctx ends.
// Once it has one, it calls stop to end ctx, because it does not wait for the rest.
func (f *Facade) browse(
	ctx context.Context, stop func(), topic string, r jetstream.Range,
) (out []jetstream.Message, err error) {
	for {
		msgs, err := f.service.Topics.ReadWait(ctx, topic, r)
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
