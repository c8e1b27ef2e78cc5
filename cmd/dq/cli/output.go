package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
)

// output is where a command prints its result: for people, or as one JSON
// object a line.
type output struct {
	w    io.Writer
	json bool
}

func (c *client) output(cmd *cobra.Command) output { return output{cmd.OutOrStdout(), c.json} }

// jsonOptions write durations as the HTTP API has them.
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

// list prints values: as JSON or, for people, as a table of some of their
// fields.
func list[T any](o output, values iter.Seq2[T, error], columns ...string) error {
	t := newTable()
	header := make(table.Row, len(columns))
	for i, column := range columns {
		header[i] = strings.ReplaceAll(column, "_", " ")
	}
	t.AppendHeader(header)
	for value, err := range values {
		if err == nil && o.json {
			err = o.object(value)
		}
		if err != nil {
			return err
		}
		fields, err := fieldsOf(value)
		if err != nil {
			return err
		}
		row := make(table.Row, len(columns))
		for i, column := range columns {
			row[i] = ""
			for _, f := range fields {
				if f.name == column {
					row[i] = f.text
				}
			}
		}
		t.AppendRow(row)
	}
	if o.json || t.Length() == 0 {
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

// field is a field of a JSON object. One of an object within it is called
// OBJECT.NAME.
type field struct{ name, text string }

// fieldsOf are the fields of value in JSON, in order.
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
		text := token.String() // before the decoder is used again
		kind, n := dec.StackIndex(dec.StackDepth())
		if name := kind == '{' && n%2 == 1; name || strings.ContainsRune("{}[]", rune(token.Kind())) {
			continue
		}
		path := strings.TrimPrefix(string(dec.StackPointer()), "/")
		fields = append(fields, field{strings.ReplaceAll(path, "/", "."), text})
	}
}
