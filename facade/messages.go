package facade

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"

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

const (
	mimeNDJSON = "application/x-ndjson"

	// maxIdempotencyKey is in bytes. The engine keeps each for the dedup window.
	maxIdempotencyKey = 256

	// maxHeaders is in bytes of names and values, with headerCost for each, as
	// HTTP/2 counts. It keeps an answer with them in what HTTP clients accept.
	maxHeaders = 16 << 10
	headerCost = 32

	maxDelay = 365 * 24 * time.Hour
)

// newMessage is a message as a client writes it.
type newMessage struct {
	Data           *string            `json:"data"`
	DataBase64     *string            `json:"data_base64"`
	Key            string             `json:"key"`
	ContentType    string             `json:"content_type"`
	Headers        map[string]string  `json:"headers"`
	IdempotencyKey string             `json:"idempotency_key"`
	TTL            jetstream.Duration `json:"ttl"`
	Delay          jetstream.Duration `json:"delay"`
	DeliverAt      time.Time          `json:"deliver_at"`
}

// draft checks m.
func (m *newMessage) draft() (d jetstream.Draft, err error) {
	d = jetstream.Draft{
		Key: m.Key, ContentType: m.ContentType, Headers: m.Headers,
		ID: m.IdempotencyKey, TTL: time.Duration(m.TTL), At: m.DeliverAt,
	}
	switch {
	case m.Data != nil && m.DataBase64 != nil:
		return d, &FieldError{"data_base64", "there is data too: want one of them"}
	case m.Data != nil:
		d.Data = []byte(*m.Data)
	case m.DataBase64 != nil:
		if d.Data, err = base64.StdEncoding.DecodeString(*m.DataBase64); err != nil {
			return d, &FieldError{"data_base64", err.Error()}
		}
	default:
		return d, &MissingFieldError{Field: "data"}
	}
	if m.Delay < 0 || m.Delay != 0 && !m.DeliverAt.IsZero() {
		return d, &FieldError{"delay", "want a duration above 0s, without deliver_at"}
	}
	now := time.Now()
	if m.Delay > 0 {
		d.At = now.Add(time.Duration(m.Delay))
	}
	if d.At.After(now.Add(maxDelay)) {
		return d, &FieldError{"delay", fmt.Sprintf("want at most %s from now", maxDelay)}
	}
	return d, checkDraft(d)
}

// checkDraft refuses what no message can have, apart from its size.
func checkDraft(d jetstream.Draft) error {
	if err := jetstream.CheckKey(d.Key); err != nil {
		return &FieldError{"key", err.Error()}
	}
	if err := checkIdempotencyKey("idempotency_key", d.ID); err != nil {
		return err
	}
	if d.TTL != 0 && d.TTL < time.Second || d.TTL%time.Second != 0 {
		return &FieldError{"ttl", fmt.Sprintf("want whole seconds, 1s or more, not %s", d.TTL)}
	}
	if !headerValue(d.ContentType) {
		return &FieldError{"content_type", "it may have no control characters, and no space around it"}
	}
	size := len(d.ContentType)
	for name, value := range d.Headers {
		size += len(name) + len(value) + headerCost
		switch {
		case strings.EqualFold(name, fiber.HeaderContentType):
			return &FieldError{"headers", "Content-Type: it has a field of its own, content_type"}
		case jetstream.Reserved(name):
			return &FieldError{"headers", fmt.Sprintf("%.100q: names that start with Nats- or Dq- are reserved", name)}
		case !jetstream.ValidHeader(name):
			return &FieldError{"headers", fmt.Sprintf("%.100q: want a name of letters, digits and !#$%%&'*+-.^_`|~", name)}
		case !headerValue(value):
			return &FieldError{"headers", fmt.Sprintf("%.100q: the value may have no control characters, and no space around it", name)}
		}
	}
	if size > maxHeaders {
		return &FieldError{"headers", fmt.Sprintf("they take %d bytes and may take %d: names, values, and %d for each", size, maxHeaders, headerCost)}
	}
	return nil
}

func checkIdempotencyKey(field, key string) error {
	if len(key) > maxIdempotencyKey || !headerValue(key) {
		return &FieldError{field, fmt.Sprintf("want at most %d bytes without control characters, and no space around them", maxIdempotencyKey)}
	}
	return nil
}

// headerValue reports whether text may be the value of a header.
func headerValue(text string) bool {
	return !strings.ContainsFunc(text, control) && strings.TrimSpace(text) == text
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// receipt is what became of a message.
type receipt struct {
	Sequence  uint64    `json:"sequence,omitzero"`
	Time      time.Time `json:"time,omitzero"`
	Duplicate bool      `json:"duplicate,omitzero"`
	DeliverAt time.Time `json:"deliver_at,omitzero"`
	Code      string    `json:"code,omitzero"`
	Detail    string    `json:"detail,omitzero"`
}

func (f *Facade) v1Produce(ctx context.Context, c *fiber.Ctx) (any, error) {
	topic, err := pathText(c, "topic")
	if err != nil {
		return nil, err
	}
	q := query{c: c}
	batch := Batch{Atomic: q.flag("atomic"), ExpectedLast: q.sequence("expected_last_sequence", 0)}
	raw := q.flag("raw")
	if q.err != nil {
		return nil, q.err
	}
	if batch.Drafts, err = draftsOf(c, raw); err != nil {
		return nil, err
	}
	receipts, err := f.queue.ProduceBatch(ctx, topic, batch)
	if err != nil {
		return nil, err
	}
	return answerOf(batch.Drafts, receipts)
}

// answerOf tells a client what became of its messages.
func answerOf(drafts []jetstream.Draft, receipts []jetstream.Receipt) (any, error) {
	out := make([]receipt, len(receipts))
	var failed error
	stored, delayed := 0, 0
	for i, r := range receipts {
		out[i] = receipt{Sequence: r.Sequence, Time: r.Time, Duplicate: r.Duplicate}
		switch {
		case r.Err != nil:
			out[i].Code, out[i].Detail = problemOf(r.Err).code, r.Err.Error()
			if failed == nil {
				failed = r.Err
			}
		case r.Delayed:
			out[i].DeliverAt = drafts[i].At.UTC()
			delayed++
		case !r.Duplicate:
			stored++
		}
	}
	switch {
	case failed != nil && len(receipts) == 1:
		return nil, failed
	case failed != nil:
		return nil, &PartialError{failed, out}
	}
	body := struct {
		Messages []receipt `json:"messages"`
	}{out}
	switch {
	case stored > 0:
		return created(body), nil
	case delayed > 0:
		return reply{fiber.StatusAccepted, body}, nil
	}
	return ok(body), nil
}

// draftsOf reads the messages in a body, as its content type says.
func draftsOf(c *fiber.Ctx, raw bool) (drafts []jetstream.Draft, err error) {
	kind, _, _ := mime.ParseMediaType(c.Get(fiber.HeaderContentType))
	body := c.BodyRaw()
	key := string(c.Request().Header.Peek(idempotencyHeader))
	if err := checkIdempotencyKey(idempotencyHeader, key); err != nil {
		return nil, err
	}
	switch {
	case raw || kind != fiber.MIMEApplicationJSON && kind != mimeNDJSON:
		draft, err := rawDraft(c)
		return []jetstream.Draft{draft}, err
	case kind == mimeNDJSON:
		drafts, err = linesOf(body)
	case bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")):
		drafts, err = arrayOf(body)
	default:
		var m newMessage
		if err := decodeStrict(body, &m); err != nil {
			return nil, err
		}
		draft, err := m.draft()
		if draft.ID == "" {
			draft.ID = key
		}
		return []jetstream.Draft{draft}, err
	}
	if key != "" {
		for i := range drafts {
			if drafts[i].ID == "" {
				drafts[i].ID = key + "/" + strconv.Itoa(i)
			}
		}
	}
	return drafts, err
}

func arrayOf(body []byte) ([]jetstream.Draft, error) {
	var messages []newMessage
	if err := decodeStrict(body, &messages); err != nil {
		return nil, err
	}
	if len(messages) > maxMessages {
		return nil, &BatchTooLargeError{Messages: len(messages)}
	}
	drafts := make([]jetstream.Draft, len(messages))
	for i := range messages {
		var err error
		if drafts[i], err = messages[i].draft(); err != nil {
			return nil, &ItemError{"message", i, err}
		}
	}
	return drafts, nil
}

// linesOf reads a JSON object from each line.
func linesOf(body []byte) ([]jetstream.Draft, error) {
	blank := func(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }
	count := 0
	for line := range bytes.Lines(body) {
		if !blank(line) {
			count++
		}
	}
	if count > maxMessages {
		return nil, &BatchTooLargeError{Messages: count}
	}
	drafts := make([]jetstream.Draft, 0, count)
	n := -1
	for line := range bytes.Lines(body) {
		n++
		if blank(line) {
			continue
		}
		var m newMessage
		if err := decodeStrict(line, &m); err != nil {
			return nil, &ItemError{"line", n, err}
		}
		draft, err := m.draft()
		if err != nil {
			return nil, &ItemError{"line", n, err}
		}
		drafts = append(drafts, draft)
	}
	return drafts, nil
}

// rawDraft is the one message that a request is.
func rawDraft(c *fiber.Ctx) (d jetstream.Draft, err error) {
	header := &c.Request().Header
	m := newMessage{
		Key:            string(header.Peek(keyHeader)),
		ContentType:    string(header.ContentType()),
		IdempotencyKey: string(header.Peek(idempotencyHeader)),
	}
	for name, into := range map[string]*jetstream.Duration{ttlHeader: &m.TTL, delayHeader: &m.Delay} {
		if value := header.Peek(name); len(value) > 0 {
			if err := into.UnmarshalText(value); err != nil {
				return d, &FieldError{name, err.Error()}
			}
		}
	}
	if value := header.Peek(deliverAtHeader); len(value) > 0 {
		if err := m.DeliverAt.UnmarshalText(value); err != nil {
			return d, &FieldError{deliverAtHeader, fmt.Sprintf("%.100q is not a time such as 2026-01-31T12:00:00Z", value)}
		}
	}
	header.VisitAll(func(name, value []byte) {
		if rest, found := strings.CutPrefix(string(name), headerPrefix); found {
			if m.Headers == nil {
				m.Headers = make(map[string]string)
			}
			m.Headers[rest] = string(value)
		}
	})
	if m.ContentType == fiber.MIMEApplicationForm { // curl -d says so of any text
		m.ContentType = ""
	}
	data := string(c.BodyRaw())
	m.Data = &data
	return m.draft()
}

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
	topic, err := pathText(c, "topic")
	if err != nil {
		return nil, err
	}
	sequence, err := strconv.ParseUint(c.Params("sequence"), 10, 64)
	if err != nil || sequence == 0 {
		return nil, &FieldError{"sequence", fmt.Sprintf("want an integer of at least 1, not %.100q", c.Params("sequence"))}
	}
	q := query{c: c}
	raw := q.flag("raw")
	if q.err != nil {
		return nil, q.err
	}
	m, err := f.queue.GetMessage(ctx, topic, sequence)
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
	topic, err := pathText(c, "topic")
	if err != nil {
		return nil, err
	}
	stream := c.Accepts(fiber.MIMEApplicationJSON, mimeNDJSON, mimeEvents) == mimeEvents
	q := query{c: c}
	from := q.place("from", Place{New: stream})
	r := jetstream.Range{Key: q.text("key"), Max: q.number("limit", 1, maxMessages, defaultMessages), MaxBytes: q.number("max_bytes", 1, maxBytes, defaultBytes)}
	wait := q.wait()
	if q.err != nil {
		return nil, q.err
	}
	if stream {
		return nil, f.streamTopic(c, topic, from, r.Key)
	}
	if r.From, err = f.queue.Locate(ctx, topic, from); err != nil {
		return nil, err
	}
	ctx, stop, err := f.waiting(c, wait)
	if err != nil {
		return nil, err
	}
	defer stop()
	msgs, err := f.browse(ctx, stop, topic, r)
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
		msgs, err := f.queue.FollowMessages(ctx, topic, r)
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
