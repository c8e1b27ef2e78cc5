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

// FileError is a mistake in a file of tokens. It quotes nothing that could be a
// token which somebody wrote where its hash belongs.
type FileError struct {
	File    string
	Line    int    // from 1
	Entry   string // the entry's name, "" if that is not known
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

// wants is what belongs in each field.
var wants = map[string]string{
	"":                    `an object such as {"tokens": [...]}`,
	"tokens":              "an array of objects, one for each token",
	"name":                "a name, which no other entry has",
	"sha256":              "the SHA-256 of a token in 64 hexadecimal digits, and never the token itself, or a cert in place of it",
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

// want is what belongs in the field that pointer leads to, which may be an item
// of it.
func want(pointer string) string {
	parts := strings.Split(pointer, "/")
	for i := len(parts) - 1; i > 0; i-- {
		if text, ok := wants[parts[i]]; ok {
			return "want " + text
		}
	}
	return "want " + wants[""]
}

// Parse reads a file of tokens. Path is for its errors, which are [*FileError].
func Parse(path string, data []byte) (File, error) {
	var file File
	err := json.Unmarshal(data, &file, json.RejectUnknownMembers(true))
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	wrong := &FileError{File: path}
	switch {
	case errors.As(err, &syntax):
		wrong.Field, wrong.Line = string(syntax.JSONPointer), lineAt(data, syntax.ByteOffset)
		wrong.Problem = "the JSON is broken here"
		if errors.Is(err, jsontext.ErrDuplicateName) {
			wrong.Problem = "the field is there twice"
		}
	case errors.As(err, &semantic):
		wrong.Field = string(semantic.JSONPointer)
		wrong.Line, wrong.Problem = lineOf(data, wrong.Field), want(wrong.Field)
		if errors.Is(err, json.ErrUnknownName) {
			wrong.Problem = "there is no such field"
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

// entryOf is the name of the entry that pointer leads into, as far as it is known.
func (f *File) entryOf(pointer string) string {
	if parts := strings.Split(pointer, "/"); len(parts) > 2 {
		if i, err := strconv.Atoi(parts[2]); err == nil && i < len(f.Tokens) {
			return f.Tokens[i].Name
		}
	}
	return ""
}

// lineOf is the line where the value that pointer leads to starts, or the
// innermost around it if it is not there.
func lineOf(data []byte, pointer string) int {
	var at int64
	depth := -1
	decoder := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		if _, err := decoder.ReadToken(); err != nil {
			return lineAt(data, at)
		}
		here := string(decoder.StackPointer())
		if len(here) > depth && strings.HasPrefix(pointer+"/", here+"/") {
			depth, at = len(here), decoder.InputOffset()
		}
	}
}

func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
}

// check returns the first field that is wrong, and what is.
func (f *File) check() (field, problem string) {
	seen := make(map[string]bool)
	for i := range f.Tokens {
		e := &f.Tokens[i]
		at := "/tokens/" + strconv.Itoa(i)
		if field, problem := e.check(); problem != "" {
			return at + field, problem
		}
		for _, own := range [][2]string{{"/name", e.Name}, {"/sha256", strings.ToLower(e.SHA256)}, {"/cert", e.Cert}} {
			key := own[0] + "=" + own[1]
			if own[1] != "" && seen[key] {
				return at + own[0], "another entry has the same"
			}
			seen[key] = true
		}
	}
	return "", ""
}

func (e *Entry) check() (field, problem string) {
	hash, err := hex.DecodeString(e.SHA256)
	switch {
	case e.Name == "":
		return "/name", want("/name")
	case e.SHA256 == "" && e.Cert == "", e.SHA256 != "" && (err != nil || len(hash) != hashSize):
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
	rate := func(r *float64) bool { return r == nil || *r > 0 && *r <= math.MaxInt32 }
	most := func(n *int) bool { return n == nil || *n >= 0 }
	switch {
	case !rate(l.RequestsPerSecond):
		field = "requests_per_second"
	case !rate(l.BytesPerSecond):
		field = "bytes_per_second"
	case !most(l.MaxTopics):
		field = "max_topics"
	case !most(l.MaxConsumers):
		field = "max_consumers"
	default:
		return "", ""
	}
	return "/limits/" + field, want("/" + field)
}
