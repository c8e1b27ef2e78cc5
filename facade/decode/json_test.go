package decode

import (
	"errors"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// digits reads itself from a JSON number.
type digits struct{ text string }

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (d *digits) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if token.Kind() != '0' {
		return errors.New("want digits")
	}
	d.text = token.String()
	return nil
}

// body is what the calls of these tests take.
type body struct {
	Text  string            `json:"text"`
	Small int8              `json:"small"`
	Flag  bool              `json:"flag"`
	List  []int8            `json:"list"`
	Map   map[string]string `json:"map"`
	Time  time.Time         `json:"time"`
	Own   digits            `json:"own"`
	Given *int              `json:"given"`
}

func TestJSON_ReadsFieldsAndIgnoresOthers(t *testing.T) {
	t.Parallel()
	got := body{Text: "stays"}

	err := JSON([]byte(`{"small":-3,"other":{"a":[1]},"own":12,"list":[1,2]}`), &got)

	require.NoError(t, err)
	assert.Equal(t, body{Text: "stays", Small: -3, Own: digits{"12"}, List: []int8{1, 2}}, got)
}

func TestStrictJSON_SaysWhatIsWrongAndWhere(t *testing.T) {
	t.Parallel()
	const int8Wanted = "want an integer that fits in int8, not "
	for text, want := range map[string]error{
		`{"text":"a","other":1}`:  &FieldError{Field: "other", Problem: "this call has no such field"},
		`{"text":1}`:              &FieldError{Field: "text", Problem: "want a string, not a number"},
		`{"text":true}`:           &FieldError{Field: "text", Problem: "want a string, not a boolean"},
		`{"small":300}`:           &FieldError{Field: "small", Problem: int8Wanted + "300"},
		`{"small":1.5}`:           &FieldError{Field: "small", Problem: int8Wanted + "1.5"},
		`{"small":"1"}`:           &FieldError{Field: "small", Problem: int8Wanted + "a string"},
		`{"flag":"true"}`:         &FieldError{Field: "flag", Problem: "want true or false, not a string"},
		`{"list":{}}`:             &FieldError{Field: "list", Problem: "want an array, not an object"},
		`{"list":[1,"b"]}`:        &FieldError{Field: "list/1", Problem: int8Wanted + "a string"},
		`{"map":[]}`:              &FieldError{Field: "map", Problem: "want an object, not an array"},
		`{"time":1}`:              &FieldError{Field: "time", Problem: "want a string, not a number"},
		`{"own":"1"}`:             &FieldError{Field: "own", Problem: "want digits"},
		`null`:                    &SyntaxError{Problem: "want an object, not null"},
		` null `:                  &SyntaxError{Problem: "want an object, not null"},
		`[]`:                      &SyntaxError{Problem: "want an object, not an array"},
		`"a"`:                     &SyntaxError{Problem: "want an object, not a string"},
		`{"text":"a","text":"b"}`: &SyntaxError{Problem: `duplicate object member name "text"`},
	} {
		err := StrictJSON([]byte(text), new(body))

		assert.Equal(t, want, err, text)
	}
}

func TestStrictJSON_RefusesWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{``, `{`, `{"text":"a"}x`, `{"text":"` + "\xff" + `"}`, `{"text":`, `{'text':'a'}`} {
		var syntax *SyntaxError

		err := StrictJSON([]byte(text), new(body))

		require.ErrorAs(t, err, &syntax, text)
		assert.NotContains(t, syntax.Problem, "jsontext: ", "a word of the decoder")
	}
}

func TestOptionalJSON_EmptyBodyIsNone(t *testing.T) {
	t.Parallel()
	got := body{Text: "stays"}

	require.NoError(t, OptionalJSON(nil, &got))
	assert.Equal(t, body{Text: "stays"}, got)
	assert.Error(t, OptionalJSON([]byte(`null`), &got))
	assert.Error(t, OptionalJSON([]byte(`{"other":1}`), &got))
}

func TestRequired_FieldMustBeGiven(t *testing.T) {
	t.Parallel()
	var got body
	require.NoError(t, StrictJSON([]byte(`{"given":0}`), &got))

	given, err := Required("given", got.Given)
	require.NoError(t, err)
	assert.Zero(t, given)
	_, err = Required("given", new(body).Given)
	assert.Equal(t, &MissingFieldError{Field: "given"}, err)
}

// pair is a list of at most two numbers.
type pair []int8

func (p *pair) UnmarshalJSONFrom(dec *jsontext.Decoder) (err error) {
	*p, err = List[int8](dec, 2, nil)
	return err
}

func TestList_IsReadUpToItsLimit(t *testing.T) {
	t.Parallel()
	tooLong := &TooLongError{Limit: 2}
	for text, want := range map[string]error{
		`{"pair":[1,2]}`:        nil,
		`{"pair":[]}`:           nil,
		`{"pair":null}`:         nil,
		`{"pair":[1,2,3]}`:      &FieldError{Field: "pair", Problem: tooLong.Error()},
		`{"pair":[1,2,"wrong`:   &FieldError{Field: "pair", Problem: tooLong.Error()},
		`{"pair":[1,"b"]}`:      &FieldError{Field: "pair/1", Problem: "want an integer that fits in int8, not a string"},
		`{"pair":{}}`:           &FieldError{Field: "pair", Problem: "want an array, not an object"},
		`{"pair":[1],"pair":1}`: &SyntaxError{Problem: `duplicate object member name "pair"`},
	} {
		var got struct {
			Pair pair `json:"pair"`
		}

		err := StrictJSON([]byte(text), &got)

		assert.Equal(t, want, err, text)
	}

	var whole pair
	assert.Equal(t, tooLong, StrictJSON([]byte(`[1,2,3]`), &whole))
	require.NoError(t, StrictJSON([]byte(`[1,2]`), &whole))
	assert.Equal(t, pair{1, 2}, whole)
}
