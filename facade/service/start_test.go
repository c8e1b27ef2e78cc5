package service

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/decode"
)

func TestStart_IsAWordASequenceOrATime(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]Start{
		"first": {}, "new": {New: true}, "0": {}, "7": {Sequence: 7},
		"18446744073709551615": {Sequence: 1<<64 - 1},
		"2026-01-31T12:00:00Z": {Time: noon},
		"1969-12-31T23:59:59Z": {},          // before all messages
		"2400-01-01T00:00:00Z": {New: true}, // after all messages
	} {
		start, err := ParseStart(text)

		require.NoError(t, err, text)
		assert.Equal(t, want, start, text)
	}
	for _, text := range []string{"", "last", "-1", "+1", "1.5", "18446744073709551616", "2026-01-31"} {
		_, err := ParseStart(text)
		assert.ErrorContains(t, err, "want first, new, a sequence, or a time such as 2026-01-31T12:00:00Z, not", text)
	}
}

func TestStart_JSONIsANumberOrAString(t *testing.T) {
	t.Parallel()
	type body struct {
		Start Start `json:"start"`
	}
	for text, want := range map[string]Start{
		`{"start":7}`: {Sequence: 7}, `{"start":"7"}`: {Sequence: 7}, `{"start":"new"}`: {New: true},
	} {
		var got body
		require.NoError(t, decode.StrictJSON([]byte(text), &got), text)
		assert.Equal(t, body{Start: want}, got, text)
	}
	for _, text := range []string{`{"start":true}`, `{"start":[]}`, `{"start":{}}`, `{"start":null}`, `{"start":1.5}`} {
		var field *decode.FieldError
		err := decode.StrictJSON([]byte(text), new(body))
		assert.ErrorAs(t, err, &field, text)
	}
}
