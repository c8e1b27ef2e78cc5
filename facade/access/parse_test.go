package access_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/access"
)

const someHash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

const goodFile = `{
  "tokens": [
    {
      "name": "billing",
      "sha256": "` + someHash + `",
      "grants": [{"topics": "orders-*", "scopes": ["produce", "consume"]}],
      "limits": {"requests_per_second": 0.5, "bytes_per_second": 1e6, "max_topics": 0, "max_consumers": 10},
      "expires": "2027-01-01T00:00:00Z"
    },
    {
      "name": "operator",
      "cert": "operator.example.com",
      "grants": [{"topics": "*", "scopes": ["admin"]}]
    }
  ]
}
`

func TestTokenFile_MistakeIsReportedWithLineEntryAndField(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ old, with, want string }{
		"no JSON":              {goodFile, "tokens: []", "tokens.json:1: invalid JSON"},
		"empty":                {goodFile, "", "tokens.json:1: invalid JSON"},
		"cut off":              {`  ]` + "\n}\n", "", "tokens.json:15: /tokens: invalid JSON"},
		"more after it":        {"  ]\n}\n", "  ]\n}\n{}", "tokens.json:17: invalid JSON"},
		"an array":             {goodFile, "[]", `tokens.json:1: want an object such as {"tokens": [...]}`},
		"unknown field":        {`"cert"`, `"certificate"`, `tokens.json:12: token "operator": /tokens/1/certificate: unknown field`},
		"twice":                {`"cert"`, `"name"`, `tokens.json:12: token "operator": /tokens/1/name: the field occurs twice`},
		"no name":              {`"name": "operator",`, ``, `tokens.json:10: /tokens/1/name: want a name that no other entry has`},
		"same name":            {`"operator"`, `"billing"`, `tokens.json:11: token "billing": /tokens/1/name: another entry has the same`},
		"same token":           {`"cert": "operator.example.com"`, `"sha256": "` + strings.ToUpper(someHash) + `"`, `tokens.json:12: token "operator": /tokens/1/sha256: another entry has the same`},
		"nobody's":             {`"cert": "operator.example.com",`, ``, `tokens.json:10: token "operator": /tokens/1/sha256: want the SHA-256 of a token`},
		"short hash":           {someHash, someHash[:62], `tokens.json:5: token "billing": /tokens/0/sha256: want the SHA-256`},
		"hash of other digits": {someHash, someHash[:62] + "xy", `tokens.json:5: token "billing": /tokens/0/sha256: want the SHA-256`},
		"hash is a number":     {`"` + someHash + `"`, `1`, `tokens.json:5: token "billing": /tokens/0/sha256: want the SHA-256`},
		"no grants":            {`[{"topics": "*", "scopes": ["admin"]}]`, `[]`, `tokens.json:13: token "operator": /tokens/1/grants: want an array of at least one`},
		"no pattern":           {`"topics": "*"`, `"topics": ""`, `tokens.json:13: token "operator": /tokens/1/grants/0/topics: want a pattern`},
		"no scopes":            {`["admin"]`, `[]`, `tokens.json:13: token "operator": /tokens/1/grants/0/scopes: want an array of at least one of produce, consume and admin`},
		"unknown scope":        {`["admin"]`, `["admin", "write"]`, `tokens.json:13: token "operator": /tokens/1/grants/0/scopes/1: want an array of at least one of produce, consume and admin, not "write"`},
		"scope is a number":    {`["admin"]`, `[1]`, `tokens.json:13: token "operator": /tokens/1/grants/0/scopes/0: want an array of at least one of produce, consume and admin`},
		"rate is a text":       {`0.5`, `"0.5"`, `tokens.json:7: token "billing": /tokens/0/limits/requests_per_second: want a number above 0`},
		"rate of nothing":      {`0.5`, `0`, `tokens.json:7: token "billing": /tokens/0/limits/requests_per_second: want a number above 0`},
		"huge rate":            {`1e6`, `1e60`, `tokens.json:7: token "billing": /tokens/0/limits/bytes_per_second: want a number above 0`},
		"negative quota":       {`"max_topics": 0`, `"max_topics": -1`, `tokens.json:7: token "billing": /tokens/0/limits/max_topics: want an integer of 0 or more`},
		"fractional quota":     {`"max_topics": 0`, `"max_topics": 0.5`, `tokens.json:7: token "billing": /tokens/0/limits/max_topics: want an integer of 0 or more`},
		"expires is no time":   {`2027-01-01T00:00:00Z`, `tomorrow`, `tokens.json:8: token "billing": /tokens/0/expires: want a time such as`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, goodFile, test.old)
			data := strings.Replace(goodFile, test.old, test.with, 1)

			_, err := access.Parse("tokens.json", []byte(data))

			var wrong *access.FileError
			require.ErrorAs(t, err, &wrong)
			assert.True(t, strings.HasPrefix(err.Error(), test.want), "%v\nwant %s", err, test.want)
		})
	}
}

// FuzzParse checks that a file is either refused with the line of its mistake or can
// be written and read again, and that nothing panics.
func FuzzParse(f *testing.F) {
	f.Add([]byte(goodFile))
	f.Add([]byte(`{"tokens":[{"name":"a","cert":"b","grants":[{"topics":"*","scopes":["admin"]}]}]}`))
	f.Add([]byte(`{"tokens":null}`))
	f.Add([]byte(`{"tokens":[{"name":1}]}`))
	f.Add([]byte("{\"tokens\":[{\"\xff\":1}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := access.Parse("f", data)
		if err != nil {
			var wrong *access.FileError
			require.ErrorAs(t, err, &wrong)
			require.GreaterOrEqual(t, wrong.Line, 1)
			require.NotEmpty(t, wrong.Problem)
			return
		}
		again, err := file.Encode()
		require.NoError(t, err)
		_, err = access.Parse("f", again)
		require.NoError(t, err)
	})
}
