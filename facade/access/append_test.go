package access_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/access"
)

func TestAnEntryIsAddedInOneStep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens.json")
	_, a := entry(t, "a", "x=consume")
	_, b := entry(t, "b", "x=consume")
	require.NoError(t, access.Append(path, a))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	require.NoError(t, os.Chmod(path, 0o640))
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(path, link))
	require.NoError(t, access.Append(link, b))
	info, err = os.Lstat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode(), "who could read it still can")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, encode(t, a, b), data)

	require.ErrorContains(t, access.Append(path, a), "another entry has the same")
	require.NoError(t, os.WriteFile(path+".new", nil, 0o600))
	_, c := entry(t, "c", "x=consume")
	require.ErrorContains(t, access.Append(path, c), path+".new is there")
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, data, after)
}

func TestAWrongFileIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"tokens":[{"comment":"mine"}]}`), 0o600))
	_, e := entry(t, "a", "x=consume")
	require.ErrorContains(t, access.Append(path, e), "/tokens/0/comment: there is no such field")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Contains(t, string(data), "mine")
	there, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, there, 1, "nothing else is left")
}
