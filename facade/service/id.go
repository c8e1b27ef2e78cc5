package service

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// An ID is a producer or consumer id as a client wrote it: a JSON number or a
// string of digits.
type ID struct {
	Number int64
	Text   string
}

// Possible reports whether an id could have been given out at all.
func (id ID) Possible() bool { return id.Number >= 0 }

// ParseID reads an id. It accepts a number that is negative or too large for 64 bits,
// as an id that does not exist.
func ParseID(text string) (ID, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		number, err = -1, nil
	}
	if err != nil || strings.HasPrefix(text, "+") {
		return ID{}, fmt.Errorf("%.100q is not an integer", text)
	}
	return ID{Number: number, Text: text}, nil
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (id *ID) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if kind := token.Kind(); kind != '0' && kind != '"' {
		return errors.New("want an integer or a string of digits")
	}
	*id, err = ParseID(token.String())
	return err
}
