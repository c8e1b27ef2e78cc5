package service

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/decode"
)

func TestID_IsAnIntegerThatMayNotExist(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]ID{
		"0":                     {Number: 0, Text: "0"},
		"9223372036854775807":   {Number: 1<<63 - 1, Text: "9223372036854775807"},
		"-5":                    {Number: -5, Text: "-5"},
		"9223372036854775808":   {Number: -1, Text: "9223372036854775808"},
		"-99999999999999999999": {Number: -1, Text: "-99999999999999999999"},
	} {
		id, err := ParseID(text)

		require.NoError(t, err, text)
		assert.Equal(t, want, id)
		assert.Equal(t, want.Number >= 0, id.Possible(), text)
	}
	for _, text := range []string{"", "a", "1.0", "1e3", "+1", "+9223372036854775808", " 1"} {
		_, err := ParseID(text)
		assert.ErrorContains(t, err, "is not an integer", text)
	}
}

func TestID_JSONIsANumberOrAStringOfDigits(t *testing.T) {
	t.Parallel()
	type body struct {
		ID ID `json:"id"`
	}
	for _, text := range []string{`{"id":7}`, `{"id":"7"}`} {
		var got body
		require.NoError(t, decode.JSON([]byte(text), &got), text)
		assert.Equal(t, body{ID: ID{Number: 7, Text: "7"}}, got)
	}
	for text, want := range map[string]string{
		`{"id":true}`: `invalid field "id": want an integer or a string of digits`,
		`{"id":1.5}`:  `invalid field "id": "1.5" is not an integer`,
	} {
		assert.EqualError(t, decode.JSON([]byte(text), new(body)), want)
	}
}
