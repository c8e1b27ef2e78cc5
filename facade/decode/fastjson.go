package decode

import (
	"bytes"
	"unicode/utf8"
)

// flatField is a field of a flat object: a string without escapes, or an
// integer.
type FastField struct {
	Name    string
	Integer bool   // it may be an integer, too
	Text    []byte // nil until it was found
}

// decodeFlat reads a JSON object that has just the given fields, in any order,
// each a plain string or an integer, as nearly all bodies of produce are. It
// reports false for everything else, right or wrong, which is for the strict
// decoder to tell; that one takes five times as long. The texts are parts of
// body.
func Fast(body []byte, fields []FastField) bool {
	rest, ok := skip(body, '{')
	for n := 0; ok && n < len(fields); n++ {
		var name, value []byte
		var integer bool
		if name, rest, ok = plainString(rest); !ok {
			return false
		}
		if rest, ok = skip(rest, ':'); !ok {
			return false
		}
		if integer = len(rest) > 0 && rest[0] != '"'; integer {
			value, rest, ok = plainInteger(rest)
		} else {
			value, rest, ok = plainString(rest)
		}
		if !ok || !assign(fields, name, value, integer) {
			return false
		}
		if n < len(fields)-1 {
			rest, ok = skip(rest, ',')
		}
	}
	if ok {
		rest, ok = skip(rest, '}')
	}
	return ok && len(space(rest)) == 0
}

func assign(fields []FastField, name, value []byte, integer bool) bool {
	for i := range fields {
		if string(name) == fields[i].Name && fields[i].Text == nil && (fields[i].Integer || !integer) {
			fields[i].Text = value
			return true
		}
	}
	return false
}

// space is text without the white space that it starts with.
func space(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\n' || text[0] == '\t' || text[0] == '\r') {
		text = text[1:]
	}
	return text
}

// skip takes c, with white space around it, off the start of text.
func skip(text []byte, c byte) ([]byte, bool) {
	text = space(text)
	if len(text) == 0 || text[0] != c {
		return nil, false
	}
	return space(text[1:]), true
}

func plainInteger(text []byte) (value, rest []byte, ok bool) {
	n := 0
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	if n == 0 || n > 1 && text[0] == '0' || n == len(text) {
		return nil, nil, false
	}
	return text[:n], text[n:], true
}

func plainString(text []byte) (value, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '"' {
		return nil, nil, false
	}
	end := bytes.IndexByte(text[1:], '"')
	if end < 0 {
		return nil, nil, false
	}
	value = text[1 : 1+end]
	ascii := true
	for _, c := range value {
		if c < ' ' || c == '\\' {
			return nil, nil, false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if !ascii && !utf8.Valid(value) {
		return nil, nil, false
	}
	return value, text[end+2:], true
}
