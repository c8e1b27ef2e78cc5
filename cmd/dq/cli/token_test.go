package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func runToken(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := tokenCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.Execute()
	return out.String(), errs.String(), err
}

func TestANewTokenIsPrintedOnceAndOnlyItsHashIsKept(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens.json")
	token, rest, err := runToken("new", "billing", "--grant", "orders-*=produce,consume", "--grant", "log=consume", "--file", file)
	require.NoError(t, err)
	assert.Empty(t, rest)
	token = strings.TrimSpace(token)
	assert.Regexp(t, `^dq_[A-Za-z0-9_-]{43}$`, token)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotContains(t, string(data), token)
	sum := sha256.Sum256([]byte(token))
	assert.Contains(t, string(data), hex.EncodeToString(sum[:]))

	_, _, err = runToken("new", "old", "--grant", "*=admin", "--expires", "1ns", "--file", file)
	require.NoError(t, err)
	list, _, err := runToken("list", "--file", file)
	require.NoError(t, err)
	assert.Regexp(t, `billing +orders-\*=produce,consume log=consume +never\n`, list)
	assert.Regexp(t, `old +\*=admin +expired 20`, list)
	assert.NotContains(t, list, hex.EncodeToString(sum[:]))
}

func TestWithoutAFileTheEntryIsPrinted(t *testing.T) {
	t.Parallel()
	token, entry, err := runToken("new", "billing", "--grant", "a=produce")
	require.NoError(t, err)
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	assert.Contains(t, entry, `"sha256": "`+hex.EncodeToString(sum[:])+`"`)
}

func TestATokenIsNotMadeOfAWrongCommandLine(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"no name":         {"new", "--grant", "a=produce"},
		"no grant":        {"new", "billing"},
		"unknown scope":   {"new", "billing", "--grant", "a=write"},
		"no scope":        {"new", "billing", "--grant", "a"},
		"expires before":  {"new", "billing", "--grant", "a=produce", "--expires", "-1h"},
		"list of no file": {"list"},
	} {
		out, _, err := runToken(args...)
		require.Error(t, err, name)
		assert.Empty(t, out, name)
	}
}
