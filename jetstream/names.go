package jetstream

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"dq/jetstream/engine"
)

const (
	// MaxEncodedName is the most bytes that the encoded name of a topic may have.
	// The engine allows 255 bytes for a stream's name, and the file system as many
	// for the directory of that name; 240 leaves room for our prefix.
	MaxEncodedName = 240

	escape = '=' // starts an encoded byte
)

// reserved are topic names that an earlier broker kept for itself.
var reserved = []string{"subl", "publ"}

// CheckName returns a [*NameError] that says which rule name breaks, or nil if
// a topic may have that name.
//
// A name is valid UTF-8, not empty, neither "subl" nor "publ", holds neither
// "--" nor an en dash, and its encoded form has at most [MaxEncodedName] bytes.
// Everything else, dots, spaces, "*" and ">" included, is allowed.
func CheckName(name string) error {
	refuse := func(format string, args ...any) error {
		return &NameError{Name: name, Rule: fmt.Sprintf(format, args...)}
	}

	if name == "" {
		return refuse("a topic name may not be empty")
	}
	if !utf8.ValidString(name) {
		return refuse("a topic name must be valid UTF-8")
	}

	if name == "." || name == ".." {
		return refuse("HTTP clients fold a path segment %q away", name)
	}
	if i := strings.IndexFunc(name, unicode.IsControl); i >= 0 {
		return refuse("a topic name may have no control characters")
	}

	for _, word := range reserved {
		if name == word {
			return refuse("%q is reserved", word)
		}
	}
	for _, dash := range []string{"--", "–"} {
		if strings.Contains(name, dash) {
			return refuse("%q may not stand in a topic name", dash)
		}
	}

	if n := encodedLen(name); n > MaxEncodedName {
		return refuse("the name takes %d bytes and may take %d: "+
			"ASCII letters, digits, '-' and '_' take 1, any other byte of UTF-8 takes 3", n, MaxEncodedName)
	}
	return nil
}

// StreamName returns the name of the stream that holds topic.
func StreamName(topic string) string { return engine.TopicPrefix + EncodeName(topic) }

// EncodeName turns any name into a word that is valid as a stream name, a subject
// token, a key of a bucket and a file name: ASCII letters, digits, '-' and '_' stay as
// they are, every other byte becomes '=' and two hexadecimal digits, so that
// "a.b" is "a=2Eb". [DecodeName] is its inverse.
func EncodeName(name string) string {
	n := encodedLen(name)
	if n == len(name) {
		return name
	}
	var b strings.Builder
	b.Grow(n)

	for i := range len(name) {
		if c := name[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%c%02X", escape, c)
		}
	}
	return b.String()
}

// DecodeName is the inverse of [EncodeName]. It reports false for a word that
// EncodeName never makes.
func DecodeName(encoded string) (name string, ok bool) {
	var b strings.Builder

	for i := 0; i < len(encoded); i++ {
		c := encoded[i]
		if c == escape {
			if i+2 >= len(encoded) {
				return "", false
			}
			if _, err := fmt.Sscanf(encoded[i+1:i+3], "%02X", &c); err != nil {
				return "", false
			}
			i += 2
		}
		b.WriteByte(c)
	}

	name = b.String()
	return name, EncodeName(name) == encoded
}

// encodedLen returns the length of [EncodeName] of name.
func encodedLen(name string) int {
	n := len(name)
	for i := range len(name) {
		if !plain(name[i]) {
			n += 2
		}
	}
	return n
}

// plain reports whether c stays as it is when it is encoded.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
