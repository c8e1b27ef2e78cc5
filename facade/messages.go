package facade

import (
	"context"
	"fmt"
	"strconv"
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

// dataOf returns the size of the data of messages, in bytes.
func dataOf(views []messageView) (bytes int) {
	for i := range views {
		bytes += views[i].size()
	}
	return bytes
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

	hold := f.hold()
	if err := hold.Take(f.service.Topics.Expect(ctx, topic, 1, 1)); err != nil {
		return nil, err
	}
	m, err := f.service.Topics.Get(ctx, topic, sequence)
	if err != nil {
		hold.Give()
		return nil, err
	}
	if raw {
		return &rawMessage{jetstream.Delivery{Message: m}, hold}, nil
	}
	return &heldReply[messageView]{viewMessage(m), hold}, nil
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
	list := &messageReply{lines: accepted(c, fiber.MIMEApplicationJSON, mimeNDJSON) == mimeNDJSON, hold: f.hold()}
	if err := f.browseWaiting(c, topic, browsing{r, wait, list}); err != nil {
		_ = list.Close()
		return nil, err
	}
	return list, nil
}

// browsing is one call of browse.
type browsing struct {
	rest jetstream.Range // not read yet
	wait time.Duration   // for the first message
	list *messageReply   // of what was read
}

// browseWaiting reads messages, and waits for the first one as long as the client asked.
func (f *Facade) browseWaiting(c *fiber.Ctx, topic string, b browsing) error {
	ctx, stop, err := f.waiting(c, b.wait)
	if err != nil {
		return err
	}
	defer stop()

	if err := f.browse(ctx, stop, topic, &b); err != nil {
		return err
	}
	b.list.setNext(b.rest.From)
	return f.session(c, topic).check() // the token may have ended meanwhile
}

// browse reads all messages of b, in several reads if one returns fewer. It waits for the first message until ctx ends.
// Once it has one, it calls stop to end ctx, because it does not wait for the rest. An answer that gets large waits for
// its part of the memory that all answers may take.
func (f *Facade) browse(ctx context.Context, stop func(), topic string, b *browsing) error {
	for b.rest.Max > 0 && b.rest.MaxBytes > 0 {
		if b.list.size >= smallAnswer && b.list.release == nil {
			if err := f.holdMemory(b.list, b.rest.MaxBytes); err != nil {
				return err
			}
		}
		r := b.rest
		if b.list.release == nil {
			r.MaxBytes, r.Memory = min(r.MaxBytes, smallAnswer), b.list.hold
		}
		msgs, err := f.service.Topics.ReadWait(ctx, topic, r)
		if err != nil || len(msgs) == 0 {
			return err
		}

		for _, m := range msgs {
			if err := b.list.add(viewMessage(m)); err != nil {
				return err
			}
			b.rest.From = m.Sequence + 1
			b.rest.MaxBytes -= len(m.Data)
		}
		b.rest.Max -= len(msgs)
		stop()
	}
	return nil
}

// holdMemory waits until the answer may have n bytes more, at most as long as a request may take.
func (f *Facade) holdMemory(list *messageReply, n int) (err error) {
	ctx, cancel := context.WithTimeout(f.running, f.opts.RequestTimeout)
	defer cancel()
	list.budget = f.answers
	list.release, err = f.answers.acquire(ctx, n)
	return err
}
