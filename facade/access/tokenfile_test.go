package access_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/access"
)

func TestTokenFile_EncodeWritesWhatParseRead(t *testing.T) {
	t.Parallel()
	file, err := access.Parse("tokens.json", []byte(goodFile))
	require.NoError(t, err)
	require.Len(t, file.Tokens, 2)
	assert.Equal(t, "orders-*=produce,consume", file.Tokens[0].Grants[0].String())

	again, err := file.Encode()
	require.NoError(t, err)

	second, err := access.Parse("tokens.json", again)
	require.NoError(t, err)
	assert.Equal(t, file, second)
}

func TestGrant_ParseReadsWhatStringWrites(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"orders-*=produce,consume", "*=admin", "a=b=consume"} {
		grant, err := access.ParseGrant(text)
		require.NoError(t, err)
		assert.Equal(t, text, grant.String())
	}
}

func TestGrant_InvalidTextIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "orders", "=admin", "orders=", "orders=write", "orders=produce,", "orders=produce consume",
	} {
		_, err := access.ParseGrant(text)
		assert.ErrorContains(t, err, "invalid grant", "%q", text)
	}
}

func TestTokenFile_AppendCreatesAFileOnlyItsOwnerReads(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.json")
	_, a := entry(t, "a", "x=consume")

	require.NoError(t, access.Append(path, a))

	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestTokenFile_AppendKeepsEntriesModeAndLink(t *testing.T) {
	t.Parallel()
	path, a := appended(t)
	_, b := entry(t, "b", "x=consume")
	require.NoError(t, os.Chmod(path, 0o640))
	link := filepath.Join(filepath.Dir(path), "link")
	require.NoError(t, os.Symlink(path, link))

	require.NoError(t, access.Append(link, b))

	info, err := os.Lstat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode(), "users who could read it still can")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, encode(t, a, b), data)
}

func TestTokenFile_RefusedAppendLeavesTheFile(t *testing.T) {
	t.Parallel()
	path, a := appended(t)
	_, c := entry(t, "c", "x=consume")
	before, err := os.ReadFile(path)
	require.NoError(t, err)

	require.ErrorContains(t, access.Append(path, a), "another entry has the same")
	require.NoError(t, os.WriteFile(path+".new", nil, 0o600))
	require.ErrorContains(t, access.Append(path, c), path+".new exists")

	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

// appended makes a file of tokens with one entry by Append.
func appended(t *testing.T) (path string, e access.Entry) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tokens.json")
	_, e = entry(t, "a", "x=consume")
	require.NoError(t, access.Append(path, e))
	return path, e
}

func TestTokenFile_AppendToAWrongFileLeavesIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"tokens":[{"comment":"mine"}]}`), 0o600))
	_, e := entry(t, "a", "x=consume")

	err := access.Append(path, e)

	require.ErrorContains(t, err, "/tokens/0/comment: unknown field")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Contains(t, string(data), "mine")
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 1, "no other file is left")
}
