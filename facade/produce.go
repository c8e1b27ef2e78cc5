package facade

import (
	"bytes"
	"context"
	"encoding"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"

	"dq/facade/decode"
	"dq/facade/service"
	"dq/jetstream"
)

const mimeNDJSON = "application/x-ndjson"

// A newMessage is the JSON of a message to produce.
type newMessage struct {
	Data           *string            `json:"data"`
	DataBase64     *string            `json:"data_base64"`
	Key            string             `json:"key"`
	ContentType    string             `json:"content_type"`
	Headers        headerMap          `json:"headers"`
	IdempotencyKey string             `json:"idempotency_key"`
	TTL            jetstream.Duration `json:"ttl"`
	Delay          jetstream.Duration `json:"delay"`
	DeliverAt      timestamp          `json:"deliver_at"`
}

// A headerMap is the headers of a message.
type headerMap map[string]string

// UnmarshalJSONFrom implements [json.UnmarshalerFrom]. It stops at the first header that exceeds the limit of all
// headers together, before it takes memory for that header and the next ones.
func (h *headerMap) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '{' {
		return json.UnmarshalDecode(dec, (*map[string]string)(h)) // nothing, or an error that says what is wrong
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}

	place, size := dec.StackPointer(), 0
	*h = make(headerMap)
	for dec.PeekKind() != '}' {
		var name, value string
		if err := json.UnmarshalDecode(dec, &name); err != nil {
			return err
		}
		if err := json.UnmarshalDecode(dec, &value); err != nil {
			return err
		}

		if size += len(name) + len(value) + headerCost; size > maxHeaders {
			return &json.SemanticError{JSONPointer: place, GoType: reflect.TypeFor[headerMap](), Err: errTooManyHeaders}
		}
		(*h)[name] = value
	}
	_, err := dec.ReadToken()
	return err
}

var errTooManyHeaders = fmt.Errorf(
	"they take more than %d bytes: names, values, and %d for each", maxHeaders, headerCost)

// A timestamp is a time in JSON or in a header.
type timestamp time.Time

// UnmarshalText implements [encoding.TextUnmarshaler].
func (t *timestamp) UnmarshalText(text []byte) error {
	if (*time.Time)(t).UnmarshalText(text) != nil {
		return fmt.Errorf("%.100q is not a time such as 2026-01-31T12:00:00Z", text)
	}
	return nil
}

// draft checks m and returns the message that it describes.
func (m *newMessage) draft() (d jetstream.Draft, err error) {
	d = jetstream.Draft{
		Key:         m.Key,
		ContentType: m.ContentType,
		Headers:     m.Headers,
		ID:          m.IdempotencyKey,
		TTL:         time.Duration(m.TTL),
	}

	switch {
	case m.Data != nil && m.DataBase64 != nil:
		return d, &decode.FieldError{Field: "data_base64", Problem: "want data or data_base64, not both"}
	case m.Data != nil:
		d.Data = []byte(*m.Data)
	case m.DataBase64 != nil:
		if d.Data, err = base64.StdEncoding.DecodeString(*m.DataBase64); err != nil {
			return d, &decode.FieldError{Field: "data_base64", Problem: err.Error()}
		}
	default:
		return d, &decode.MissingFieldError{Field: "data"}
	}

	if d.At, err = deliveryTime(m.Delay, m.DeliverAt); err != nil {
		return d, err
	}
	return d, checkDraft(&d)
}

// deliveryTime returns when a message is to be stored, from the delay or the time that the client gave. It returns the
// zero time if the client gave neither.
func deliveryTime(delay jetstream.Duration, at timestamp) (time.Time, error) {
	due := time.Time(at)
	if delay < 0 || delay != 0 && !due.IsZero() {
		return due, &decode.FieldError{Field: "delay", Problem: "want a duration above 0s, without deliver_at"}
	}

	now, field := time.Now(), "deliver_at"
	if delay > 0 {
		due, field = now.Add(time.Duration(delay)), "delay"
	}
	if due.After(now.Add(maxDelay)) {
		return due, &decode.FieldError{Field: field, Problem: fmt.Sprintf("want at most %s from now", maxDelay)}
	}
	return due, nil
}

// checkDraft refuses a message with an invalid field. The service checks the size of the data.
func checkDraft(d *jetstream.Draft) error {
	if err := jetstream.CheckKey(d.Key); err != nil {
		return &decode.FieldError{Field: "key", Problem: err.Error()}
	}
	if err := checkIdempotencyKey("idempotency_key", d.ID); err != nil {
		return err
	}

	const maxTTL = time.Duration(jetstream.MaxDuration)
	if d.TTL != 0 && d.TTL < time.Second || d.TTL%time.Second != 0 || d.TTL > maxTTL {
		problem := fmt.Sprintf("want whole seconds, 1s to %s, not %s", maxTTL, d.TTL)
		return &decode.FieldError{Field: "ttl", Problem: problem}
	}
	if !headerValue(d.ContentType) {
		const problem = "it may have no control characters, and no space around it"
		return &decode.FieldError{Field: "content_type", Problem: problem}
	}
	return checkHeaders(d)
}

// checkHeaders refuses headers that HTTP and NATS cannot both carry, and too many of them.
func checkHeaders(d *jetstream.Draft) error {
	refuse := func(format string, values ...any) error {
		return &decode.FieldError{Field: "headers", Problem: fmt.Sprintf(format, values...)}
	}

	size := len(d.ContentType)
	names := make(map[string]bool, len(d.Headers))
	for name, value := range d.Headers {
		size += len(name) + len(value) + headerCost
		lower := strings.ToLower(name)
		switch {
		case names[lower]:
			return refuse("%.100q: it is given twice, as HTTP ignores case in names", name)
		case strings.EqualFold(name, fiber.HeaderContentType):
			return refuse("Content-Type: it has a field of its own, content_type")
		case jetstream.ReservedHeader(name):
			return refuse("%.100q: names that start with Nats- or Dq- are reserved", name)
		case !jetstream.ValidHeader(name):
			return refuse("%.100q: want a name of letters, digits and !#$%%&'*+-.^_`|~", name)
		case !headerValue(value):
			return refuse("%.100q: the value may have no control characters, and no space around it", name)
		}
		names[lower] = true
	}

	if size > maxHeaders {
		return refuse("%v", errTooManyHeaders)
	}
	return nil
}

// checkIdempotencyKey refuses keys that no header can carry, and those that the broker uses itself.
func checkIdempotencyKey(field, key string) error {
	if len(key) > maxIdempotencyKey || !headerValue(key) {
		const format = "want at most %d bytes without control characters, and no space around them"
		return &decode.FieldError{Field: field, Problem: fmt.Sprintf(format, maxIdempotencyKey)}
	}
	if strings.HasPrefix(key, jetstream.ReservedIDPrefix) {
		const format = "keys that start with %s are the broker's own: choose another than %.100q"
		return &decode.FieldError{Field: field, Problem: fmt.Sprintf(format, jetstream.ReservedIDPrefix, key)}
	}
	return nil
}

// headerValue reports whether text can be the value of a header.
func headerValue(text string) bool {
	return !strings.ContainsFunc(text, control) && strings.TrimSpace(text) == text
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

func (f *Facade) v1Produce(ctx context.Context, c *fiber.Ctx) (response, error) {
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

	receipts, err := f.service.ProduceBatch(ctx, topic, batch)
	if err != nil {
		return nil, err
	}
	return answerReceipts(batch.Drafts, receipts)
}

// draftsOf decodes the messages in a body. They are JSON if the content type says so and raw is false.
func draftsOf(c *fiber.Ctx, raw bool) ([]jetstream.Draft, error) {
	key := string(c.Request().Header.Peek(idempotencyHeader))
	if err := checkIdempotencyKey(idempotencyHeader, key); err != nil {
		return nil, err
	}

	kind, _, _ := mime.ParseMediaType(c.Get(fiber.HeaderContentType))
	if raw || kind != fiber.MIMEApplicationJSON && kind != mimeNDJSON {
		if !raw && unlabelled(kind, c.BodyRaw()) {
			return nil, &ContentTypeNeededError{Got: kind}
		}
		draft, err := rawDraft(c, key)
		if kind == fiber.MIMEApplicationForm { // curl -d says so of any text
			draft.ContentType = ""
		}
		return []jetstream.Draft{draft}, err
	}

	body := decode.WithoutBOM(c.BodyRaw())
	switch {
	case kind == mimeNDJSON:
		drafts, err := decodeLines(body)
		numberKeys(drafts, key)
		return drafts, err
	case bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")):
		drafts, err := decodeArray(body)
		numberKeys(drafts, key)
		return drafts, err
	}

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

// unlabelled reports whether a body has messages in JSON although its media type does not say so. By default, programs
// send a body as a form (curl -d, Python's urllib), as text (fetch of JavaScript) or without a type. Stored as it is,
// such a body would become one message.
func unlabelled(kind string, body []byte) bool {
	if kind != "" && kind != fiber.MIMEApplicationForm && kind != fiber.MIMETextPlain {
		return false
	}

	body = bytes.TrimLeft(decode.WithoutBOM(body), " \t\r\n")
	switch {
	case bytes.HasPrefix(body, []byte("[")):
		messages, err := decodeArray(body)
		return err == nil && len(messages) > 0
	case bytes.HasPrefix(body, []byte("{")):
		messages, err := decodeLines(body)
		if err != nil { // one message on several lines
			var message newMessage
			err = decode.StrictJSON(body, &message)
			return err == nil && (message.Data != nil || message.DataBase64 != nil)
		}
		return len(messages) > 0
	}
	return false
}

// ContentTypeNeededError is a call whose body has messages in JSON, and whose content type does not say so.
type ContentTypeNeededError struct{ Got string }

func (e *ContentTypeNeededError) Error() string {
	return fmt.Sprintf("the body has messages in JSON, but its content type is %q: add the header "+
		"Content-Type: application/json (application/x-ndjson for one message a line), "+
		"or raw=true to store the body as one message", e.Got)
}

// numberKeys gives each draft without an idempotency key one that is made from key, the key of the request. It does
// nothing if key is "".
func numberKeys(drafts []jetstream.Draft, key string) {
	if key == "" {
		return
	}
	for i := range drafts {
		if drafts[i].ID == "" {
			drafts[i].ID = key + "/" + strconv.Itoa(i)
		}
	}
}

// A messageList is the messages of one call.
type messageList []newMessage

// UnmarshalJSONFrom implements [json.UnmarshalerFrom]. It counts the messages while it reads them: an empty one takes a
// hundred times as much memory as its text. It counts their headers likewise.
func (l *messageList) UnmarshalJSONFrom(dec *jsontext.Decoder) (err error) {
	headers := 0
	*l, err = decode.List(dec, maxMessages, func(m *newMessage) error {
		if headers += len(m.Headers); headers > maxBatchHeaders {
			return &decode.TooLongError{Limit: maxMessages}
		}
		return nil
	})
	return err
}

// decodeArray decodes a JSON array of messages.
func decodeArray(body []byte) ([]jetstream.Draft, error) {
	var messages messageList
	err := decode.StrictJSON(body, &messages)
	var tooLong *decode.TooLongError
	switch {
	case errors.As(err, &tooLong):
		return nil, &BatchTooLargeError{}
	case err != nil:
		return nil, withMessageNumber(err)
	}

	drafts := make([]jetstream.Draft, len(messages))
	for i := range messages {
		if drafts[i], err = messages[i].draft(); err != nil {
			return nil, &service.ItemError{What: "message", Index: i, Err: err}
		}
	}
	return drafts, nil
}

// withMessageNumber replaces the index in the path of a field, such as 0/ttl, with the number of the message, as in
// other errors.
func withMessageNumber(err error) error {
	var field *decode.FieldError
	if !errors.As(err, &field) {
		return err
	}
	index, name, found := strings.Cut(field.Field, "/")
	i, notNumber := strconv.Atoi(index)
	if !found || notNumber != nil {
		return err
	}
	inMessage := &decode.FieldError{Field: name, Problem: field.Problem}
	return &service.ItemError{What: "message", Index: i, Err: inMessage}
}

// decodeLines decodes a message from each line that is not blank.
func decodeLines(body []byte) ([]jetstream.Draft, error) {
	blank := func(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }
	count := 0
	for line := range bytes.Lines(body) {
		if !blank(line) {
			count++
		}
		if count > maxMessages {
			return nil, &BatchTooLargeError{}
		}
	}

	drafts := make([]jetstream.Draft, 0, count)
	headers := 0
	number := 0 // of lines before this one, blank ones too
	for line := range bytes.Lines(body) {
		if !blank(line) {
			draft, err := decodeLine(line)
			if err != nil {
				return nil, &service.ItemError{What: "line", Index: number, Err: err}
			}
			if headers += len(draft.Headers); headers > maxBatchHeaders {
				return nil, &BatchTooLargeError{}
			}
			drafts = append(drafts, draft)
		}
		number++
	}
	return drafts, nil
}

func decodeLine(line []byte) (jetstream.Draft, error) {
	var m newMessage
	if err := decode.StrictJSON(line, &m); err != nil {
		return jetstream.Draft{}, err
	}
	return m.draft()
}

// rawDraft returns the message whose data is the body of a request; its other fields are in the headers. The parameter
// key is the request's idempotency key.
func rawDraft(c *fiber.Ctx, key string) (d jetstream.Draft, err error) {
	header := &c.Request().Header
	d = jetstream.Draft{
		Key:         string(header.Peek(keyHeader)),
		ContentType: string(header.ContentType()),
		Headers:     rawHeaders(c),
		Data:        bytes.Clone(c.BodyRaw()), // fasthttp may use the buffer again
		ID:          key,
	}

	var ttl, delay jetstream.Duration
	var deliverAt timestamp
	if err := parseHeader(c, ttlHeader, &ttl); err != nil {
		return d, err
	}
	if err := parseHeader(c, delayHeader, &delay); err != nil {
		return d, err
	}
	if err := parseHeader(c, deliverAtHeader, &deliverAt); err != nil {
		return d, err
	}
	d.TTL = time.Duration(ttl)
	if d.At, err = deliveryTime(delay, deliverAt); err != nil {
		return d, err
	}
	return d, checkDraft(&d)
}

// parseHeader parses a header into into. It leaves into unchanged if the request does not have the header.
func parseHeader(c *fiber.Ctx, name string, into encoding.TextUnmarshaler) error {
	text := c.Request().Header.Peek(name)
	if len(text) == 0 {
		return nil
	}
	if err := into.UnmarshalText(text); err != nil {
		return &decode.FieldError{Field: name, Problem: err.Error()}
	}
	return nil
}

// rawHeaders returns the headers of a raw message: those of the request that start with Dq-Header-, without that
// prefix.
func rawHeaders(c *fiber.Ctx) map[string]string {
	var headers map[string]string
	for name, value := range c.Request().Header.All() {
		if rest, found := bytes.CutPrefix(name, []byte(headerPrefix)); found {
			if headers == nil {
				headers = make(map[string]string)
			}
			headers[string(rest)] = string(value)
		}
	}
	return headers
}

// A receipt is the JSON that says whether a message was stored, and where.
type receipt struct {
	Sequence  uint64    `json:"sequence,omitzero"`
	Time      time.Time `json:"time,omitzero"`
	Duplicate bool      `json:"duplicate,omitzero"`
	DeliverAt time.Time `json:"deliver_at,omitzero"`
	Code      string    `json:"code,omitzero"`
	Detail    string    `json:"detail,omitzero"`
}

// produced is the answer to produce.
type produced struct {
	Messages []receipt `json:"messages"`
}

// answerReceipts returns the answer that tells a client where its messages were stored, or an error if some were not
// stored.
func answerReceipts(drafts []jetstream.Draft, receipts []jetstream.Receipt) (response, error) {
	out := make([]receipt, len(receipts))
	var failed error // of the first message that was not stored
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
			if !r.Duplicate { // the time of the first one is not known
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
	case stored > 0:
		return reply(fiber.StatusCreated, produced{Messages: out}), nil
	case delayed > 0:
		return reply(fiber.StatusAccepted, produced{Messages: out}), nil
	}
	return reply(fiber.StatusOK, produced{Messages: out}), nil // all were stored before
}

// PartialError is a batch of which not all messages were stored.
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

// Unwrap returns the error of the first message that was not stored.
func (e *PartialError) Unwrap() error { return e.Err }

// BatchTooLargeError is a call with more messages, or headers of messages, than one call may have.
type BatchTooLargeError struct{}

func (*BatchTooLargeError) Error() string {
	return fmt.Sprintf("one call may have at most %d messages, and %d headers in all of them: "+
		"send the others in further calls", maxMessages, maxBatchHeaders)
}
