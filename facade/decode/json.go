package decode

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// JSON reads the JSON object in body into the struct that into points to. A field
// that body lacks stays as it is; one that the struct lacks is ignored.
// Errors: [*SyntaxError], [*FieldError].
func JSON(body []byte, into any) error {
	return asClientError(json.Unmarshal(WithoutBOM(body), into), reflect.TypeOf(into).Elem())
}

// WithoutBOM returns body without the byte order mark that some programs write before JSON.
func WithoutBOM(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\ufeff")) }

// StrictJSON reads JSON like [JSON], but refuses fields that the struct lacks.
// Errors: [*SyntaxError], [*FieldError].
func StrictJSON(body []byte, into any) error {
	body = WithoutBOM(body)
	wanted := reflect.TypeOf(into).Elem()
	if string(bytes.TrimSpace(body)) == "null" { // it would leave into as it is
		return &SyntaxError{Problem: fmt.Sprintf("want %s, not null", typeName(wanted))}
	}
	return asClientError(json.Unmarshal(body, into, json.RejectUnknownMembers(true)), wanted)
}

// OptionalJSON reads JSON like [StrictJSON], but does nothing if body is empty.
func OptionalJSON(body []byte, into any) error {
	if len(body) == 0 {
		return nil
	}
	return StrictJSON(body, into)
}

// Required returns the value of a field that clients must give. It fails if value is
// nil. Errors: [*MissingFieldError].
func Required[T any](field string, value *T) (T, error) {
	if value == nil {
		var none T
		return none, &MissingFieldError{Field: field}
	}
	return *value, nil
}

// List reads a JSON array of at most limit values from dec. It stops at the first one
// above the limit, before memory is taken for it and those that follow. Errors:
// [*TooLongError], and those of dec. It calls check, if that is not nil, with each value
// before it reads the next: an error ends the list.
func List[T any](dec *jsontext.Decoder, limit int, check func(*T) error) ([]T, error) {
	switch dec.PeekKind() {
	case 'n':
		return nil, dec.SkipValue()
	case '[':
	default:
		var list []T
		return nil, json.UnmarshalDecode(dec, &list) // it says what is wrong
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}

	place, list := dec.StackPointer(), []T{}
	for dec.PeekKind() != ']' {
		if len(list) == limit {
			return nil, &json.SemanticError{JSONPointer: place, JSONKind: '[', Err: &TooLongError{Limit: limit}}
		}
		list = append(list, *new(T))
		if err := json.UnmarshalDecode(dec, &list[len(list)-1]); err != nil {
			return nil, err
		}
		if check == nil {
			continue
		}
		if err := check(&list[len(list)-1]); err != nil {
			return nil, &json.SemanticError{JSONPointer: place, JSONKind: '[', Err: err}
		}
	}
	_, err := dec.ReadToken()
	return list, err
}

// asClientError returns what a client is told of err, an error of reading a value of
// type wanted from JSON.
func asClientError(err error, wanted reflect.Type) error {
	if err == nil {
		return nil
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return &SyntaxError{Problem: strings.TrimPrefix(err.Error(), "jsontext: ")}
	}

	field := strings.TrimPrefix(string(semantic.JSONPointer), "/")
	var tooLong *TooLongError
	switch {
	case errors.As(err, &tooLong) && field == "":
		return tooLong
	case errors.As(err, &tooLong):
		return &FieldError{Field: field, Problem: tooLong.Error()}
	case field == "":
		return &SyntaxError{Problem: fmt.Sprintf("want %s, not %s", typeName(wanted), kindName(semantic.JSONKind))}
	case errors.Is(err, json.ErrUnknownName):
		return &FieldError{Field: field, Problem: "this call has no such field"}
	case semantic.GoType != nil && semantic.Err != nil && readsItself(semantic.GoType, semantic.JSONKind):
		return &FieldError{Field: field, Problem: semantic.Err.Error()}
	}

	got := kindName(semantic.JSONKind)
	if semantic.JSONKind == '0' && len(semantic.JSONValue) > 0 {
		got = fmt.Sprintf("%.100s", semantic.JSONValue)
	}
	return &FieldError{Field: field, Problem: fmt.Sprintf("want %s, not %s", typeName(semantic.GoType), got)}
}

// readsItself reports whether type t decodes a JSON value of that kind with a method
// of its own. The errors of such methods are written for clients.
func readsItself(t reflect.Type, kind jsontext.Kind) bool {
	pointer := reflect.PointerTo(t)
	return pointer.Implements(reflect.TypeFor[json.UnmarshalerFrom]()) ||
		kind == '"' && pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// typeName describes in words the JSON that a value of type t is decoded from.
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

// kindName describes in words a kind of JSON value.
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
