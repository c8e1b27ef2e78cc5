package facade

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/facade/service"
	"dq/jetstream"
)

const (
	mimeNDJSON = "application/x-ndjson"
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
	DeliverAt      timestamp          `json:"deliver_at"`
}

// timestamp is a time as a client writes it.
type timestamp time.Time

// UnmarshalText implements [encoding.TextUnmarshaler].
func (t *timestamp) UnmarshalText(text []byte) error {
	if (*time.Time)(t).UnmarshalText(text) != nil {
		return fmt.Errorf("%.100q is not a time such as 2026-01-31T12:00:00Z", text)
	}
	return nil
}

// draft checks m.
func (m *newMessage) draft() (d jetstream.Draft, err error) {
	d = jetstream.Draft{
		Key: m.Key, ContentType: m.ContentType, Headers: m.Headers,
		ID: m.IdempotencyKey, TTL: time.Duration(m.TTL), At: time.Time(m.DeliverAt),
	}
	switch {
	case m.Data != nil && m.DataBase64 != nil:
		return d, &decode.FieldError{Field: "data_base64", Problem: "there is data too: want one of them"}
	case m.Data != nil:
		d.Data = []byte(*m.Data)
	case m.DataBase64 != nil:
		if d.Data, err = base64.StdEncoding.DecodeString(*m.DataBase64); err != nil {
			return d, &decode.FieldError{Field: "data_base64", Problem: err.Error()}
		}
	default:
		return d, &decode.MissingFieldError{Field: "data"}
	}
	if m.Delay < 0 || m.Delay != 0 && !d.At.IsZero() {
		return d, &decode.FieldError{Field: "delay", Problem: "want a duration above 0s, without deliver_at"}
	}
	now := time.Now()
	if m.Delay > 0 {
		d.At = now.Add(time.Duration(m.Delay))
	}
	if d.At.After(now.Add(maxDelay)) {
		field := "deliver_at"
		if m.Delay > 0 {
			field = "delay"
		}
		return d, &decode.FieldError{Field: field, Problem: fmt.Sprintf("want at most %s from now", maxDelay)}
	}
	return d, checkDraft(d)
}

// checkDraft refuses what no message can have, apart from its size.
func checkDraft(d jetstream.Draft) error {
	if err := jetstream.CheckKey(d.Key); err != nil {
		return &decode.FieldError{Field: "key", Problem: err.Error()}
	}
	if err := checkIdempotencyKey("idempotency_key", d.ID); err != nil {
		return err
	}
	if d.TTL != 0 && d.TTL < time.Second || d.TTL%time.Second != 0 || d.TTL > time.Duration(jetstream.MaxDuration) {
		return &decode.FieldError{Field: "ttl", Problem: fmt.Sprintf("want whole seconds, 1s to %s, not %s", time.Duration(jetstream.MaxDuration), d.TTL)}
	}
	if !headerValue(d.ContentType) {
		return &decode.FieldError{Field: "content_type", Problem: "it may have no control characters, and no space around it"}
	}
	size := len(d.ContentType)
	names := make(map[string]bool, len(d.Headers))
	for name, value := range d.Headers {
		size += len(name) + len(value) + headerCost
		lower := strings.ToLower(name)
		switch {
		case names[lower]:
			return &decode.FieldError{Field: "headers", Problem: fmt.Sprintf("%.100q: it is there twice, as HTTP knows no case in names", name)}
		case strings.EqualFold(name, fiber.HeaderContentType):
			return &decode.FieldError{Field: "headers", Problem: "Content-Type: it has a field of its own, content_type"}
		case jetstream.ReservedHeader(name):
			return &decode.FieldError{Field: "headers", Problem: fmt.Sprintf("%.100q: names that start with Nats- or Dq- are reserved", name)}
		case !jetstream.ValidHeader(name):
			return &decode.FieldError{Field: "headers", Problem: fmt.Sprintf("%.100q: want a name of letters, digits and !#$%%&'*+-.^_`|~", name)}
		case !headerValue(value):
			return &decode.FieldError{Field: "headers", Problem: fmt.Sprintf("%.100q: the value may have no control characters, and no space around it", name)}
		}
		names[lower] = true
	}
	if size > maxHeaders {
		return &decode.FieldError{Field: "headers", Problem: fmt.Sprintf("they take %d bytes and may take %d: names, values, and %d for each", size, maxHeaders, headerCost)}
	}
	return nil
}

func checkIdempotencyKey(field, key string) error {
	if len(key) > maxIdempotencyKey || !headerValue(key) {
		return &decode.FieldError{Field: field, Problem: fmt.Sprintf("want at most %d bytes without control characters, and no space around them", maxIdempotencyKey)}
	}
	if strings.HasPrefix(key, jetstream.ReservedIDPrefix) {
		return &decode.FieldError{Field: field, Problem: fmt.Sprintf("keys that start with %s are the broker's own: choose another than %.100q", jetstream.ReservedIDPrefix, key)}
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
	topic, err := decode.PathParameter(c, "topic")
	if err != nil {
		return nil, err
	}
	q := decode.NewQuery(c)
	batch := service.Batch{Atomic: q.Flag("atomic"), ExpectedLast: q.Sequence("expected_last_sequence", 0)}
	raw := q.Flag("raw")
	if q.Err() != nil {
		return nil, q.Err()
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
			if !r.Duplicate { // else the first one's time is not known
				out[i].DeliverAt = drafts[i].At.UTC()
			}
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
		if err := decode.StrictJSON(body, &m); err != nil {
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
	if err := decode.StrictJSON(body, &messages); err != nil {
		return nil, itemOf(err)
	}
	if len(messages) > maxMessages {
		return nil, &BatchTooLargeError{Messages: len(messages)}
	}
	drafts := make([]jetstream.Draft, len(messages))
	for i := range messages {
		var err error
		if drafts[i], err = messages[i].draft(); err != nil {
			return nil, &service.ItemError{What: "message", Index: i, Err: err}
		}
	}
	return drafts, nil
}

// itemOf tells which message a field is of, counted as in all other errors.
func itemOf(err error) error {
	var field *decode.FieldError
	if errors.As(err, &field) {
		index, name, found := strings.Cut(field.Field, "/")
		if i, notNumber := strconv.Atoi(index); found && notNumber == nil {
			return &service.ItemError{What: "message", Index: i, Err: &decode.FieldError{Field: name, Problem: field.Problem}}
		}
	}
	return err
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
		if err := decode.StrictJSON(line, &m); err != nil {
			return nil, &service.ItemError{What: "line", Index: n, Err: err}
		}
		draft, err := m.draft()
		if err != nil {
			return nil, &service.ItemError{What: "line", Index: n, Err: err}
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
				return d, &decode.FieldError{Field: name, Problem: err.Error()}
			}
		}
	}
	if value := header.Peek(deliverAtHeader); len(value) > 0 {
		if err := m.DeliverAt.UnmarshalText(value); err != nil {
			return d, &decode.FieldError{Field: deliverAtHeader, Problem: err.Error()}
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

// PartialError is a batch of which not all was stored.
type PartialError struct {
	Err      error // of the first message that was not
	receipts []receipt
}

func (e *PartialError) Error() string {
	stored := 0
	for _, r := range e.receipts {
		if r.Code == "" {
			stored++
		}
	}
	return fmt.Sprintf("%d of %d messages were stored; the first error: %v", stored, len(e.receipts), e.Err)
}

func (e *PartialError) Unwrap() error { return e.Err }

// BatchTooLargeError is more messages than one call may bring.
type BatchTooLargeError struct{ Messages int }

func (e *BatchTooLargeError) Error() string {
	return fmt.Sprintf("%d messages are too many for one call: send at most %d", e.Messages, maxMessages)
}
