package cli

import (
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"dq/sdk"
)

// records prints messages as they come. For people that is a table with a row for each: sequence, time, key, the token
// if there is one, and data.
func (o output) records(records iter.Seq2[sdk.Record, error]) error {
	header := !o.json
	for r, err := range records {
		if err != nil {
			return err
		}

		if header {
			if err := writeHeader(o.w, r); err != nil {
				return err
			}
			header = false
		}

		if o.json {
			err = o.object(r)
		} else {
			err = writeRow(o.w, r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// row is a line of the table of messages.
type row struct {
	sequence, time, key string
	token               string // empty: the messages have none
	data                string
}

// writeHeader writes the header of the table whose first message is r.
func writeHeader(w io.Writer, r sdk.Record) error {
	header := row{sequence: "sequence", time: "time", key: "key", data: "data"}
	if r.Token != "" {
		header.token = "token"
	}
	return header.write(w)
}

func writeRow(w io.Writer, r sdk.Record) error {
	return row{
		sequence: strconv.FormatUint(r.Sequence, 10),
		time:     r.Time.UTC().Format("2006-01-02T15:04:05.000Z"),
		key:      visible([]byte(r.Key)),
		token:    r.Token,
		data:     visible(r.Data),
	}.write(w)
}

func (r row) write(w io.Writer) error {
	line := fmt.Sprintf("%8s  %-24s  %-12s  ", r.sequence, r.time, r.key)
	if r.token != "" {
		line += fmt.Sprintf("%-10s  ", r.token)
	}
	_, err := io.WriteString(w, line+r.data+"\n")
	return err
}

// visible returns data in a form that a terminal can show: text as it is, text with control characters in quotes, and
// anything else in base64.
func visible(data []byte) string {
	switch text := string(data); {
	case !utf8.Valid(data):
		return "base64:" + base64.StdEncoding.EncodeToString(data)
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }):
		return strconv.Quote(text)
	default:
		return text
	}
}
