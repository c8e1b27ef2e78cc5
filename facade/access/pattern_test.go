package access_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"dq/facade/access"
)

func TestAStarStandsForAnyCharactersAndAllElseForItself(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern     string
		topics, not []string
	}{
		{"orders", []string{"orders"}, []string{"", "order", "orders-1", "Orders", "orders\x00"}},
		{"*", []string{"", "a", "a/b.c", "*", "ü"}, nil},
		{"**", []string{"", "a"}, nil},
		{"orders-*", []string{"orders-", "orders-eu", "orders-a/b.c>"}, []string{"orders", "my-orders-eu"}},
		{"*-dead", []string{"-dead", "orders-dead"}, []string{"orders-dead-2", "dead"}},
		{"a*b", []string{"ab", "a-b", "abab"}, []string{"a", "b", "ba", "abc"}},
		{"a*a", []string{"aa", "aba"}, []string{"a"}},
		{"a*b*c", []string{"abc", "a-b-c", "abbbc", "abcbc"}, []string{"acb", "ac", "abcd"}},
		{"a*ab*b", []string{"aabb", "a-ab-b"}, []string{"aab", "ab"}},
		{"[a-z]?", []string{"[a-z]?"}, []string{"ab"}},
		{`\*`, []string{`\`, `\x`}, []string{"*"}},
	} {
		for _, topic := range test.topics {
			assert.True(t, access.Match(test.pattern, topic), "%q is one of %q", topic, test.pattern)
		}
		for _, topic := range test.not {
			assert.False(t, access.Match(test.pattern, topic), "%q is none of %q", topic, test.pattern)
		}
	}
}

// FuzzMatch compares with what a regular expression says.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{{"*", "a"}, {"a*b", "ab"}, {"a*ab*b", "aab"}, {"**a", "aa"}, {"\n*", "\nx"}, {"(*", "("}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, topic string) {
		parts := strings.Split(pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		want, err := regexp.Compile(`\A(?s:` + strings.Join(parts, ".*") + `)\z`)
		if err != nil { // not valid UTF-8
			_ = access.Match(pattern, topic)
			return
		}
		assert.Equal(t, want.MatchString(topic), access.Match(pattern, topic), "%q, %q", pattern, topic)
	})
}
