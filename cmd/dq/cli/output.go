package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// output is where and how a command prints its result: for people, or as JSON objects, one per line.
type output struct {
	w    io.Writer
	json bool
}

func (c *client) output(cmd *cobra.Command) output { return output{w: cmd.OutOrStdout(), json: c.json} }

// jsonOptions write durations as the HTTP API does.
var jsonOptions = json.JoinOptions(
	json.Deterministic(true),
	json.WithMarshalers(json.MarshalToFunc(func(enc *jsontext.Encoder, d time.Duration) error {
		return enc.WriteToken(jsontext.String(d.String()))
	})),
)

// line prints value as JSON or, for people, a line of text.
func (o output) line(value any, human string) error {
	if o.json {
		return o.object(value)
	}
	_, err := fmt.Fprintln(o.w, human)
	return err
}

// object prints value: as JSON or, for people, as a table of its fields.
func (o output) object(value any) error {
	if o.json {
		raw, err := json.Marshal(value, jsonOptions)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(o.w, "%s\n", raw)
		return err
	}

	fields, err := fieldsOf(value)
	if err != nil {
		return err
	}
	t := newTable()
	for _, f := range fields {
		t.AppendRow(table.Row{f.name, f.text})
	}
	_, err = fmt.Fprintln(o.w, t.Render())
	return err
}

// list prints values: as JSON or, for people, as a table of the fields that columns names. It prints no empty table.
func list[T any](o output, values iter.Seq2[T, error], columns ...string) error {
	t := newTable()
	t.AppendHeader(headerOf(columns))
	for value, err := range values {
		if err != nil {
			return err
		}

		if o.json {
			if err := o.object(value); err != nil {
				return err
			}
			continue
		}

		fields, err := fieldsOf(value)
		if err != nil {
			return err
		}
		t.AppendRow(rowOf(fields, columns))
	}

	if t.Length() == 0 {
		return nil
	}
	_, err := fmt.Fprintln(o.w, t.Render())
	return err
}

func newTable() table.Writer {
	t := table.NewWriter()
	t.Style().Format.Header = text.FormatDefault
	return t
}

func headerOf(columns []string) table.Row {
	header := make(table.Row, len(columns))
	for i, column := range columns {
		header[i] = strings.ReplaceAll(column, "_", " ")
	}
	return header
}

func rowOf(fields []field, columns []string) table.Row {
	row := make(table.Row, len(columns))
	for i, column := range columns {
		row[i] = ""
		for _, f := range fields {
			if f.name == column {
				row[i] = f.text
			}
		}
	}
	return row
}

// field is a field of a JSON object. A field of an object within it is named OBJECT.NAME.
type field struct{ name, text string }

// fieldsOf returns the fields that value has in JSON, in order.
func fieldsOf(value any) (fields []field, err error) {
	raw, err := json.Marshal(value, jsonOptions)
	if err != nil {
		return nil, err
	}

	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return fields, nil
		}
		if err != nil {
			return nil, err
		}

		text := token.String() // valid only until the decoder is used again
		bracket := strings.ContainsRune("{}[]", rune(token.Kind()))
		parent, n := dec.StackIndex(dec.StackDepth())
		name := parent == '{' && n%2 == 1
		if bracket || name {
			continue
		}
		path := strings.TrimPrefix(string(dec.StackPointer()), "/")
		fields = append(fields, field{name: strings.ReplaceAll(path, "/", "."), text: text})
	}
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// escapedIf returns a writer to w. If w is a terminal, the writer escapes what a terminal would obey instead of
// showing it: anybody may have put that into a name or a message. Programs that read w get all as it is.
func escapedIf(terminal bool, w io.Writer) io.Writer {
	if terminal {
		return escaped{w}
	}
	return w
}

// escaped writes text with control characters in the form of Go, such as \x1b.
type escaped struct{ w io.Writer }

// Write implements [io.Writer]. A character must not be split over two calls.
func (e escaped) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p))
	for rest := p; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			out = fmt.Appendf(out, `\x%02x`, rest[0])
		case obeyed(r):
			quoted := strconv.QuoteRuneToASCII(r)
			out = append(out, quoted[1:len(quoted)-1]...)
		default:
			out = append(out, rest[:size]...)
		}
		rest = rest[size:]
	}

	if _, err := e.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// obeyed reports whether a terminal obeys a character instead of showing it, apart from the ends of lines and tabs.
func obeyed(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
}
