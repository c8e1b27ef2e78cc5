package access_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dq/facade/access"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// journal is a logger whose lines a test can wait for.
type journal struct {
	*slog.Logger
	lines chan string

	mu  sync.Mutex
	all bytes.Buffer
}

func newJournal() *journal {
	j := &journal{lines: make(chan string, 1000)}
	j.Logger = slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return j
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all.Write(line)
	j.lines <- string(line)
	return len(line), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.String()
}

// next waits for a line.
func (j *journal) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-j.lines:
		return line
	case <-time.After(patience):
		require.FailNow(t, "nothing was logged")
		return ""
	}
}

// replace puts content at path as editors do, in one step.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	next := filepath.Join(filepath.Dir(path), ".next")
	require.NoError(t, os.WriteFile(next, content, 0o600))
	require.NoError(t, os.Rename(next, path))
}

// entry makes a token and its entry.
func entry(t *testing.T, name string, grants ...string) (token string, e access.Entry) {
	t.Helper()
	e.Name = name
	token, e.SHA256 = access.NewToken()
	for _, text := range grants {
		grant, err := access.ParseGrant(text)
		require.NoError(t, err)
		e.Grants = append(e.Grants, grant)
	}
	return token, e
}

func encode(t *testing.T, entries ...access.Entry) []byte {
	t.Helper()
	data, err := access.Encode(access.File{Tokens: entries})
	require.NoError(t, err)
	return data
}

// open opens a new file of tokens.
func open(t *testing.T, logger *slog.Logger, entries ...access.Entry) (*access.Tokens, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.json")
	require.NoError(t, os.WriteFile(path, encode(t, entries...), 0o600))
	tokens, err := access.Open(path, logger)
	require.NoError(t, err)
	t.Cleanup(tokens.Close)
	return tokens, path
}

func header(token string) []byte { return []byte("Bearer " + token) }

func reasonOf(t *testing.T, err error) access.Reason {
	t.Helper()
	var refused *access.UnauthenticatedError
	require.ErrorAs(t, err, &refused)
	return refused.Reason
}
