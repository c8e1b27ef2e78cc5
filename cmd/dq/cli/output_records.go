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

// records prints messages as they come, and returns how many. For people that
// is a line for each: sequence, time, key, the token if there is one, and data.
func (o output) records(records iter.Seq2[sdk.Record, error]) (n int, err error) {
	for r, err := range records {
		if err != nil {
			return n, err
		}
		if o.json {
			err = o.object(r)
		} else {
			if n == 0 {
				_, err = io.WriteString(o.w, recordLine("sequence", "time", "key", tokenTitle(r), "data"))
			}
			if err == nil {
				_, err = io.WriteString(o.w, recordLine(strconv.FormatUint(r.Sequence, 10), r.Time.UTC().Format("2006-01-02T15:04:05.000Z"), visible([]byte(r.Key)), r.Token, visible(r.Data)))
			}
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func tokenTitle(r sdk.Record) string {
	if r.Token == "" {
		return ""
	}
	return "token"
}

func recordLine(sequence, time, key, token, data string) string {
	line := fmt.Sprintf("%8s  %-24s  %-12s  ", sequence, time, key)
	if token != "" {
		line += fmt.Sprintf("%-10s  ", token)
	}
	return line + data + "\n"
}

// visible is data as a terminal may show it: text as it is, text with control
// characters in quotes, and anything else in base64.
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
