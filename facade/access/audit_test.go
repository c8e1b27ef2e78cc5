package access_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/access"
)

var someCall = access.Call{
	Principal: "ops", Remote: "10.0.0.1:9", Operation: "DELETE /v1/topics/:topic", Topic: "a\n{\"b\"", Code: "ok",
}

// records reads an audit log.
func records(t *testing.T, path string) (all []map[string]string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for line := range bytes.Lines(data) {
		var record map[string]string
		require.NoError(t, json.Unmarshal(line, &record), "%s", line)
		all = append(all, record)
	}
	return all
}

func TestAudit_RecordIsALineOfJSON(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")

	for range 2 { // the second appends
		audit, err := access.OpenAudit(path, newTestLog().Logger)
		require.NoError(t, err)
		audit.Record(someCall)
		require.NoError(t, audit.Close())
	}

	all := records(t, path)
	require.Len(t, all, 2)
	at, err := time.Parse(time.RFC3339Nano, all[1]["time"])
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), at, time.Minute)
	delete(all[1], "time")
	assert.Equal(t, map[string]string{
		"operation": "DELETE /v1/topics/:topic", "principal": "ops", "remote": "10.0.0.1:9",
		"topic": someCall.Topic, "code": "ok",
	}, all[1])
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestAudit_RotationLosesNoCall(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	log := newTestLog()
	audit, err := access.OpenAudit(path, log.Logger)
	require.NoError(t, err)

	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				audit.Record(someCall)
			}
		})
	}
	require.NoError(t, os.Rename(path, path+".1"))
	all.Wait()
	audit.Record(someCall)
	require.NoError(t, audit.Close())

	assert.Len(t, append(records(t, path), records(t, path+".1")...), 401, "none is lost")
	assert.Empty(t, log.String())
}

func TestAudit_CallThatCannotBeWrittenIsLogged(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dir")
	require.NoError(t, os.Mkdir(dir, 0o700))
	log := newTestLog()
	audit, err := access.OpenAudit(filepath.Join(dir, "audit.log"), log.Logger)
	require.NoError(t, err)

	require.NoError(t, os.RemoveAll(dir))
	audit.Record(someCall)

	assert.Contains(t, log.String(), "DELETE /v1/topics/:topic")
	require.NoError(t, os.Mkdir(dir, 0o700))
	audit.Record(someCall)
	assert.Len(t, records(t, filepath.Join(dir, "audit.log")), 1, "the next call creates the file")
	require.NoError(t, audit.Close())
}

func TestAudit_DirectoryThatDoesNotExistFailsTheOpening(t *testing.T) {
	t.Parallel()

	_, err := access.OpenAudit(filepath.Join(t.TempDir(), "none", "audit.log"), newTestLog().Logger)

	assert.ErrorContains(t, err, "audit log")
}
