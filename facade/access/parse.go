package access

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// FileError reports a mistake in a file of tokens. It never quotes a value that could
// be a token which somebody wrote in the place of its hash.
type FileError struct {
	File    string
	Line    int    // from 1
	Entry   string // the entry's name, "" if it is not known
	Field   string // a JSON pointer such as "/tokens/0/grants/1/scopes", "" for the whole file
	Problem string
}

func (e *FileError) Error() string {
	where := fmt.Sprintf("%s:%d: ", e.File, e.Line)
	if e.Entry != "" {
		where += fmt.Sprintf("token %q: ", e.Entry)
	}
	if e.Field != "" {
		where += e.Field + ": "
	}
	return where + e.Problem
}

const wantSHA256 = "the SHA-256 of a token in 64 hexadecimal digits, and never the token itself, " +
	"or a cert in place of it"

// wants describes the value of each field.
var wants = map[string]string{
	"":                    `an object such as {"tokens": [...]}`,
	"tokens":              "an array of objects, one for each token",
	"name":                "a name that no other entry has",
	"sha256":              wantSHA256,
	"cert":                "the common name of a client certificate",
	"grants":              "an array of at least one object with topics and scopes",
	"topics":              `a pattern of topic names such as "orders-*"`,
	"scopes":              "an array of at least one of produce, consume and admin",
	"limits":              "an object",
	"requests_per_second": "a number above 0, or no such field for no limit",
	"bytes_per_second":    "a number above 0, or no such field for no limit",
	"max_topics":          "an integer of 0 or more, or no such field for no limit",
	"max_consumers":       "an integer of 0 or more, or no such field for no limit",
	"expires":             "a time such as 2027-01-31T12:00:00Z, or no such field for never",
}

// want describes the value of the field at pointer. If pointer leads into the field,
// to an item of an array, it describes the field.
func want(pointer string) string {
	parts := strings.Split(pointer, "/")
	for i := len(parts) - 1; i > 0; i-- {
		if text, ok := wants[parts[i]]; ok {
			return "want " + text
		}
	}
	return "want " + wants[""]
}

// Parse reads the content of a file of tokens. Path only serves its errors, which are
// [*FileError].
func Parse(path string, data []byte) (File, error) {
	var file File
	wrong := &FileError{File: path}

	err := json.Unmarshal(data, &file, json.RejectUnknownMembers(true))
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.As(err, &syntax):
		wrong.Field, wrong.Problem = string(syntax.JSONPointer), "invalid JSON"
		wrong.Line = lineAt(data, syntax.ByteOffset)
		if errors.Is(err, jsontext.ErrDuplicateName) {
			wrong.Problem = "the field occurs twice"
		}
	case errors.As(err, &semantic):
		wrong.Field = string(semantic.JSONPointer)
		wrong.Line, wrong.Problem = lineOf(data, wrong.Field), want(wrong.Field)
		if errors.Is(err, json.ErrUnknownName) {
			wrong.Problem = "unknown field"
		}
	case err != nil:
		return file, err
	default:
		if wrong.Field, wrong.Problem = file.check(); wrong.Problem == "" {
			return file, nil
		}
		wrong.Line = lineOf(data, wrong.Field)
	}

	wrong.Entry = file.entryOf(wrong.Field)
	return file, wrong
}

// entryOf returns the name of the entry that pointer leads into, or "".
func (f *File) entryOf(pointer string) string {
	if parts := strings.Split(pointer, "/"); len(parts) > 2 {
		if i, err := strconv.Atoi(parts[2]); err == nil && i < len(f.Tokens) {
			return f.Tokens[i].Name
		}
	}
	return ""
}

// lineOf returns the line on which the value at pointer starts. If the value does not
// exist, it returns the line of the innermost value around it.
func lineOf(data []byte, pointer string) int {
	var at int64
	var innermost string
	found := false

	decoder := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		if _, err := decoder.ReadToken(); err != nil {
			return lineAt(data, at)
		}
		here := string(decoder.StackPointer())
		deeper := !found || len(here) > len(innermost)
		if deeper && strings.HasPrefix(pointer+"/", here+"/") {
			found, innermost, at = true, here, decoder.InputOffset()
		}
	}
}

func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
}

// check returns the pointer of the first wrong field and what is wrong with it, or two
// empty texts.
func (f *File) check() (field, problem string) {
	seen := make(map[string]bool)
	for i := range f.Tokens {
		e := &f.Tokens[i]
		pointer := "/tokens/" + strconv.Itoa(i)
		if field, problem := e.check(); problem != "" {
			return pointer + field, problem
		}

		for _, unique := range []struct{ field, value string }{
			{"/name", e.Name}, {"/sha256", strings.ToLower(e.SHA256)}, {"/cert", e.Cert},
		} {
			key := unique.field + "=" + unique.value
			if unique.value != "" && seen[key] {
				return pointer + unique.field, "another entry has the same"
			}
			seen[key] = true
		}
	}
	return "", ""
}

func (e *Entry) check() (field, problem string) {
	hash, err := hex.DecodeString(e.SHA256)
	wrongHash := err != nil || len(hash) != hashSize

	switch {
	case e.Name == "":
		return "/name", want("/name")
	case e.SHA256 == "" && e.Cert == "", e.SHA256 != "" && wrongHash:
		return "/sha256", want("/sha256")
	case len(e.Grants) == 0:
		return "/grants", want("/grants")
	}

	for i, g := range e.Grants {
		if field, problem := g.check(); problem != "" {
			return "/grants/" + strconv.Itoa(i) + field, problem
		}
	}
	return e.Limits.check()
}

func (g Grant) check() (field, problem string) {
	switch {
	case g.Topics == "":
		return "/topics", want("/topics")
	case len(g.Scopes) == 0:
		return "/scopes", want("/scopes")
	}

	for i, scope := range g.Scopes {
		if !slices.Contains(scopes, scope) {
			return "/scopes/" + strconv.Itoa(i), fmt.Sprintf("%s, not %.100q", want("/scopes"), scope)
		}
	}
	return "", ""
}

func (l *Limits) check() (field, problem string) {
	validRate := func(r *float64) bool { return r == nil || *r > 0 && *r <= math.MaxInt32 }
	validCount := func(n *int) bool { return n == nil || *n >= 0 }

	switch {
	case !validRate(l.RequestsPerSecond):
		field = "requests_per_second"
	case !validRate(l.BytesPerSecond):
		field = "bytes_per_second"
	case !validCount(l.MaxTopics):
		field = "max_topics"
	case !validCount(l.MaxConsumers):
		field = "max_consumers"
	default:
		return "", ""
	}
	return "/limits/" + field, want("/" + field)
}
