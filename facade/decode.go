package facade

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"
)

// ID is a producer or consumer id as a client wrote it: a JSON number or a
// string of digits.
type ID struct {
	Number int64
	Text   string
}

// possible reports whether an id could have been given out at all.
func (id ID) possible() bool { return id.Number >= 0 }

// ParseID reads an id. One that is negative or too large for 64 bits is an id
// that does not exist rather than a mistake.
func ParseID(text string) (ID, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		number, err = -1, nil
	}
	if err != nil || strings.HasPrefix(text, "+") {
		return ID{}, fmt.Errorf("%.100q is not an integer", text)
	}
	return ID{Number: number, Text: text}, nil
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (id *ID) UnmarshalJSONFrom(dec *jsontext.Decoder) (err error) {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case '0', '"':
		*id, err = ParseID(token.String())
		return err
	}
	return errors.New("want an integer or a string of digits")
}

// decodeBody reads the JSON object in body into the struct that into points to.
// A field that is not there stays as it is, one that is not known is passed over.
func decodeBody(body []byte, into any) error { return decodeJSON(body, into) }

// decodeStrict is decodeBody for calls that refuse fields that are not known.
func decodeStrict(body []byte, into any) error {
	if string(bytes.TrimSpace(body)) == "null" { // it would leave into as it is
		return &SyntaxError{Problem: fmt.Sprintf("want %s, not null", typeName(reflect.TypeOf(into).Elem()))}
	}
	return decodeJSON(body, into, json.RejectUnknownMembers(true))
}

// decodeOptional is decodeStrict for a body that need not be there.
func decodeOptional(body []byte, into any) error {
	if len(body) == 0 {
		return nil
	}
	return decodeStrict(body, into)
}

func decodeJSON(body []byte, into any, opts ...json.Options) error {
	err := json.Unmarshal(body, into, opts...)
	if err == nil {
		return nil
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return &SyntaxError{Problem: strings.TrimPrefix(err.Error(), "jsontext: ")}
	}
	field := strings.TrimPrefix(string(semantic.JSONPointer), "/")
	switch {
	case field == "":
		return &SyntaxError{Problem: fmt.Sprintf("want %s, not %s", typeName(reflect.TypeOf(into).Elem()), kindName(semantic.JSONKind))}
	case errors.Is(err, json.ErrUnknownName):
		return &FieldError{field, "this call has no such field"}
	case semantic.GoType != nil && semantic.Err != nil && readsItself(semantic.GoType, semantic.JSONKind):
		return &FieldError{field, semantic.Err.Error()}
	}
	got := kindName(semantic.JSONKind)
	if semantic.JSONKind == '0' && len(semantic.JSONValue) > 0 {
		got = fmt.Sprintf("%.100s", semantic.JSONValue)
	}
	return &FieldError{field, fmt.Sprintf("want %s, not %s", typeName(semantic.GoType), got)}
}

// readsItself reports whether t reads a JSON value of that kind itself, so that
// its errors are for clients to see.
func readsItself(t reflect.Type, kind jsontext.Kind) bool {
	pointer := reflect.PointerTo(t)
	return pointer.Implements(reflect.TypeFor[json.UnmarshalerFrom]()) ||
		kind == '"' && pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// typeName is the JSON that a value of type t is written as.
func typeName(t reflect.Type) string {
	if t == nil {
		return "another value"
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "a string"
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		return "an object"
	case t.Kind() == reflect.Slice:
		return "an array"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "a string"
	}
	return "an integer that fits in " + t.Kind().String()
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '0':
		return "a number"
	case '"':
		return "a string"
	case 'n':
		return "null"
	}
	return "a boolean"
}

// required takes the value of a field that has to be there.
func required[T any](field string, value *T) (T, error) {
	if value == nil {
		var none T
		return none, &MissingFieldError{Field: field}
	}
	return *value, nil
}

// queryParameter returns the named parameter of the query, or nil if it is not
// there.
func queryParameter(c *fiber.Ctx, name string) (*string, error) {
	args := c.Context().QueryArgs()
	if !args.Has(name) {
		return nil, nil
	}
	value := string(args.Peek(name)) // a copy: the original ends with the request
	if !utf8.ValidString(value) {
		return nil, &FieldError{name, "not valid UTF-8"}
	}
	return &value, nil
}

// drainLimit is how much of a refused body is read and thrown away, so that the
// client gets to read the answer instead of a reset connection.
const drainLimit = 64 << 20

// readBody reads the body of every request before anything else looks at it.
// What is left unread would be taken for the next request on the connection.
func readBody(budget *bounded, limit int) fiber.Handler {
	return func(c *fiber.Ctx) error {
		stream := c.Request().BodyStream()
		if stream == nil {
			return c.Next()
		}
		header := &c.Request().Header
		length := header.ContentLength()
		if length < 0 && hasContentLength(header.RawHeaders()) {
			c.Context().SetConnectionClose() // where the request ends, somebody before us may see otherwise
			return fiber.NewError(fiber.StatusBadRequest, "the request has both a Content-Length and a Transfer-Encoding: send one of them")
		}
		room := length
		if room < 0 || room > limit {
			room = limit
		}
		if _, err := budget.take(int64(room)); err != nil {
			drain(c, stream)
			return err
		}
		held := room
		defer func() { budget.give(int64(held)) }()
		body, err := readAtMost(stream, length, limit)
		if len(body) < held { // of a body in chunks only the end tells how long it is
			budget.give(int64(held - len(body)))
			held = len(body)
		}
		if client, ok := c.Context().Conn().(*conn); ok && err == nil && length < 0 && client.ended {
			err = errors.New("it ended before its last chunk") // which the stream takes for its end
		}
		var tooLarge *BodyTooLargeError
		switch {
		case err == nil:
			if encoding := header.Peek(fiber.HeaderContentEncoding); len(encoding) > 0 && !bytes.EqualFold(encoding, []byte("identity")) {
				return &EncodingError{Encoding: string(encoding)}
			}
			c.Request().SetBodyRaw(body)
			return c.Next()
		case errors.As(err, &tooLarge):
			drain(c, stream)
			return tooLarge
		default:
			c.Context().SetConnectionClose()
			return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("the body could not be read: %v", err))
		}
	}
}

// drain reads what is left of a body that is refused, if that is not too much, so
// that the client gets to read the answer.
func drain(c *fiber.Ctx, stream io.Reader) {
	if _, err := io.CopyN(io.Discard, stream, drainLimit); !errors.Is(err, io.EOF) {
		c.Context().SetConnectionClose()
	}
}

// hasContentLength reports whether one of the lines of headers is that.
func hasContentLength(headers []byte) bool {
	for line := range bytes.Lines(headers) {
		if name, _, found := bytes.Cut(line, []byte(":")); found && bytes.EqualFold(name, []byte(fiber.HeaderContentLength)) {
			return true
		}
	}
	return false
}

// readAtMost reads stream, whose length is known unless it is negative.
func readAtMost(stream io.Reader, length, limit int) ([]byte, error) {
	if length > limit {
		return nil, &BodyTooLargeError{Limit: limit}
	}
	if length >= 0 {
		body := make([]byte, length)
		_, err := io.ReadFull(stream, body)
		return body, err
	}
	body, err := io.ReadAll(io.LimitReader(stream, int64(limit)+1))
	if err == nil && len(body) > limit {
		return nil, &BodyTooLargeError{Limit: limit}
	}
	return body, err
}
