package access_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/access"
)

func principal(t *testing.T, grants ...string) *access.Principal {
	t.Helper()
	token, e := entry(t, "somebody", grants...)
	return authenticated(t, token, e)
}

func authenticated(t *testing.T, token string, e access.Entry) *access.Principal {
	t.Helper()
	tokens, _ := open(t, newTestLog().Logger, e)
	p, err := tokens.Authenticate(header(token), nil)
	require.NoError(t, err)
	return p
}

func TestPrincipal_HasTheScopesOfItsGrantsOnly(t *testing.T) {
	t.Parallel()
	p := principal(t, "orders-*=produce,consume", "orders-eu=admin", "log=consume")

	for _, test := range []struct {
		topic                   string
		produce, consume, admin bool
	}{
		{"orders-us", true, true, false},
		{"orders-eu", true, true, true},
		{"log", false, true, false},
		{"orders", false, false, false},
		{"secret", false, false, false},
		{"", false, false, false},
		{"*", false, false, false},
		{"orders-*", true, true, false}, // a topic can have this name
	} {
		for scope, want := range map[access.Scope]bool{
			access.Produce: test.produce, access.Consume: test.consume, access.Admin: test.admin,
		} {
			assert.Equal(t, want, p.Allows(scope, test.topic), "%s on %q", scope, test.topic)
		}
		assert.Equal(t, test.produce || test.consume || test.admin, p.Sees(test.topic), test.topic)
	}

	assert.False(t, p.Allows("", "log"))
}

func TestPrincipal_RequireAnswersByGrantsAlone(t *testing.T) {
	t.Parallel()
	p := principal(t, "log=consume")

	require.NoError(t, p.Require("log", access.Consume))
	require.NoError(t, p.Require("log", access.Admin, access.Consume), "one of the scopes is enough")
	require.NoError(t, p.Require("log"), "any scope is enough")

	var hidden *access.HiddenError
	require.ErrorAs(t, p.Require("secret", access.Consume), &hidden)
	assert.Equal(t, "secret", hidden.Topic)
	require.ErrorAs(t, p.Require("secret"), &hidden)

	var forbidden *access.ForbiddenError
	require.ErrorAs(t, p.Require("log", access.Produce, access.Admin), &forbidden)
	assert.EqualError(t, forbidden, "somebody may not do this: it needs the scope produce or admin on topic log")
	require.ErrorAs(t, p.RequireToCreate("secret", access.Admin), &forbidden)
	require.NoError(t, principal(t, "n*=admin").RequireToCreate("new", access.Admin))
}

func TestPrincipal_AnyoneMayDoEverything(t *testing.T) {
	t.Parallel()
	for _, scope := range []access.Scope{access.Produce, access.Consume, access.Admin} {
		require.NoError(t, access.Anyone.Require("x", scope))
	}
	for range 10_000 {
		require.NoError(t, access.Anyone.Take())
	}
}

func TestMatch_StarStandsForAnyCharacters(t *testing.T) {
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
			assert.True(t, access.Match(test.pattern, topic), "%q matches %q", topic, test.pattern)
		}
		for _, topic := range test.not {
			assert.False(t, access.Match(test.pattern, topic), "%q does not match %q", topic, test.pattern)
		}
	}
}

// FuzzMatch compares with what a regular expression says.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{
		{"*", "a"}, {"a*b", "ab"}, {"a*ab*b", "aab"}, {"**a", "aa"}, {"\n*", "\nx"}, {"(*", "("},
	} {
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
