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

// timeout is how long a test waits for what must happen.
const timeout = 20 * time.Second

// testLog is a logger whose lines a test can wait for.
type testLog struct {
	*slog.Logger
	lines chan string

	mu  sync.Mutex
	all bytes.Buffer
}

func newTestLog() *testLog {
	l := &testLog{lines: make(chan string, 1000)}
	l.Logger = slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return l
}

// Write keeps a line of the log.
func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.all.Write(line)
	l.lines <- string(line)
	return len(line), nil
}

// String returns all lines so far.
func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.all.String()
}

// next waits for a line.
func (l *testLog) next(t *testing.T) string {
	t.Helper()
	select {
	case line := <-l.lines:
		return line
	case <-time.After(timeout):
		require.FailNow(t, "nothing was logged")
		return ""
	}
}

// replace replaces the file at path by a rename, as editors do.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	next := filepath.Join(filepath.Dir(path), ".next")
	require.NoError(t, os.WriteFile(next, content, 0o600))
	require.NoError(t, os.Rename(next, path))
}

// entry makes a token and its entry with these grants.
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
	data, err := access.File{Tokens: entries}.Encode()
	require.NoError(t, err)
	return data
}

// open writes a file of tokens with these entries and opens it.
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
