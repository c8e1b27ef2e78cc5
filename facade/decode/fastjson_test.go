package decode

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fastFields are the fields that the tests look for.
func fastFields() []FastField {
	return []FastField{{Name: "topic"}, {Name: "id", Integer: true}}
}

func TestFastJSON_ReadsPlainObjects(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		`{"topic":"T","id":7}`:                         {"T", "7"},
		" {\t\"id\" : \"7\" , \"topic\" : \"\" }\r\n ": {"", "7"},
		`{"id":0,"topic":"ü"}`:                         {"ü", "0"},
	} {
		fields := fastFields()

		require.True(t, FastJSON([]byte(text), fields), text)

		assert.Equal(t, want, [2]string{string(fields[0].Text), string(fields[1].Text)}, text)
	}
}

func TestFastJSON_LeavesAllElseToTheStrictDecoder(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, `null`, `[]`, `{}`, `{"topic":"T"}`, `{"topic":"T","id":7,"more":1}`,
		`{"topic":"T","topic":"T"}`, `{"topic":1,"id":7}`, `{"topic":"T","id":-7}`, `{"topic":"T","id":07}`,
		`{"topic":"T","id":7.0}`,
		`{"topic":"T","id":7`,
		`{"topic":"a\nb","id":7}`, "{\"topic\":\"a\nb\",\"id\":7}", "{\"topic\":\"\xff\",\"id\":7}",
		`{"topic":"T","id":7}x`,
		`{"topic":"T","id":7,}`, `{"topic":"T" "id":7}`, `{"topic" "T","id":7}`,
		`{"topic":"T,"id":7}`, `{"TOPIC":"T","id":7}`,
	} {
		assert.False(t, FastJSON([]byte(text), fastFields()), text)
	}
}

// FuzzFastJSON checks that what the fast decoder reads, the strict one reads too.
func FuzzFastJSON(f *testing.F) {
	f.Add([]byte(`{"topic":"T","id":7}`))
	f.Add([]byte(` { "id" : "7" , "topic" : "ü" } `))
	f.Add([]byte(`{"topic":"T","id":07}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		fields := fastFields()

		fast := FastJSON(body, fields)

		require.Equal(t, before, body)
		if !fast {
			return
		}
		var strict struct {
			Topic string `json:"topic"`
			ID    any    `json:"id"`
		}
		require.NoError(t, StrictJSON(body, &strict))
		assert.Equal(t, strict.Topic, string(fields[0].Text))
		if text, ok := strict.ID.(string); ok {
			assert.Equal(t, text, string(fields[1].Text))
		}
	})
}
