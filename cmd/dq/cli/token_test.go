package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hashOf returns the SHA-256 of a token as files have it.
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func TestToken_FileKeepsOnlyTheHash(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens.json")

	token, rest, status := dq(t.Context(), "", "token", "new", "billing",
		"--grant", "orders-*=produce,consume", "--grant", "log=consume", "--file", file)
	require.Zero(t, status, rest)

	assert.Empty(t, rest)
	token = strings.TrimSpace(token)
	assert.Regexp(t, `^dq_[A-Za-z0-9_-]{43}$`, token)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotContains(t, string(data), token)
	assert.Contains(t, string(data), hashOf(token))
}

func TestToken_ListShowsGrantsAndEnds(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens.json")
	token, rest, status := dq(t.Context(), "", "token", "new", "billing",
		"--grant", "orders-*=produce,consume", "--grant", "log=consume", "--file", file)
	require.Zero(t, status, rest)
	_, rest, status = dq(t.Context(), "", "token", "new", "old",
		"--grant", "*=admin", "--expires", "1ns", "--file", file)
	require.Zero(t, status, rest)

	list, rest, status := dq(t.Context(), "", "token", "list", "--file", file)

	require.Zero(t, status, rest)
	assert.Regexp(t, `billing +orders-\*=produce,consume log=consume +never\n`, list)
	assert.Regexp(t, `old +\*=admin +expired 20`, list)
	assert.NotContains(t, list, hashOf(strings.TrimSpace(token)))
}

func TestToken_EntryIsPrintedWithoutAFile(t *testing.T) {
	t.Parallel()

	token, entry, status := dq(t.Context(), "", "token", "new", "billing", "--grant", "a=produce")

	require.Zero(t, status, entry)
	assert.Contains(t, entry, `"sha256": "`+hashOf(strings.TrimSpace(token))+`"`)
}

func TestToken_WrongCommandLineCreatesNone(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no name":         {"new", "--grant", "a=produce"},
		"no grant":        {"new", "billing"},
		"unknown scope":   {"new", "billing", "--grant", "a=write"},
		"no scope":        {"new", "billing", "--grant", "a"},
		"expires before":  {"new", "billing", "--grant", "a=produce", "--expires", "-1h"},
		"list of no file": {"list"},
	} {
		out, _, status := dq(t.Context(), "", append([]string{"token"}, args...)...)

		assert.Equal(t, exitUsage, status, name)
		assert.Empty(t, out, name)
	}
}
