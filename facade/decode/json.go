package decode

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"
)

// decodeBody reads the JSON object in body into the struct that into points to.
// A field that is not there stays as it is, one that is not known is passed over.
func Body(body []byte, into any) error { return decodeJSON(body, into) }

// decodeStrict is decodeBody for calls that refuse fields that are not known.
func Strict(body []byte, into any) error {
	if string(bytes.TrimSpace(body)) == "null" { // it would leave into as it is
		return &SyntaxError{Problem: fmt.Sprintf("want %s, not null", typeName(reflect.TypeOf(into).Elem()))}
	}
	return decodeJSON(body, into, json.RejectUnknownMembers(true))
}

// decodeOptional is decodeStrict for a body that need not be there.
func Optional(body []byte, into any) error {
	if len(body) == 0 {
		return nil
	}
	return Strict(body, into)
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
func Required[T any](field string, value *T) (T, error) {
	if value == nil {
		var none T
		return none, &MissingFieldError{Field: field}
	}
	return *value, nil
}

// queryParameter returns the named parameter of the query, or nil if it is not
// there.
func Parameter(c *fiber.Ctx, name string) (*string, error) {
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
