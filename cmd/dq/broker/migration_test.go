package broker_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

// extract unpacks an archive of testdata into a new directory. The script beside the archive says how it was made.
func extract(t *testing.T, archive string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.Open(filepath.Join("testdata", archive))
	require.NoError(t, err)
	defer f.Close()
	compressed, err := gzip.NewReader(f)
	require.NoError(t, err)

	for files := tar.NewReader(compressed); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		require.NoError(t, err)
		path := filepath.Join(dir, header.Name) //nolint:gosec // the archive is ours
		if header.Typeflag == tar.TypeDir {
			require.NoError(t, os.MkdirAll(path, 0o750))
			continue
		}
		data, err := io.ReadAll(files)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, data, 0o600))
	}
}

// checkMigrated checks the consumers that the directory before-durables has.
func checkMigrated(t *testing.T, api *sdk.Client) {
	t.Helper()
	ctx, topic := t.Context(), api.Topic("T")
	states := make(map[string][3]uint64) // position, lag, in flight
	for c, err := range topic.Consumers(ctx) {
		require.NoError(t, err)
		states[c.Name] = [3]uint64{c.Position, c.Lag, c.InFlight}
	}
	assert.Equal(t, map[string][3]uint64{
		"worker": {7, 3, 2}, "idle": {3, 7, 0}, "unused.one": {5, 5, 0}, "paused": {3, 7, 0}, "reader": {4, 6, 0},
	}, states)
}

func TestMigration_WorkQueuesBecomeDurables(t *testing.T) {
	t.Parallel()
	dir := extract(t, "before-durables.tar.gz")
	old := []string{"0-0-5-1"} // a token of the worker

	withBroker(t, dir, func(api *sdk.Client) { checkMigrated(t, api) })

	withBroker(t, dir, func(api *sdk.Client) {
		checkMigrated(t, api)
		topic := api.Topic("T")
		worker := topic.Subscription("worker")
		require.ErrorIs(t, worker.Ack(t.Context(), old...), sdk.ErrLeaseLost)
		_, rest := fetch(t, worker, 10)
		_, idle := fetch(t, topic.Subscription("idle"), 10)
		_, unused := fetch(t, topic.Subscription("unused.one"), 10)
		_, paused := fetch(t, topic.Subscription("paused"), 10)
		_, reader := fetch(t, topic.Subscription("reader"), 10)

		assert.ElementsMatch(t, []string{"2", "5", "8", "9", "10"}, rest)
		assert.Equal(t, []string{"4", "5", "6", "7", "8", "9", "10"}, idle)
		assert.Equal(t, []string{"6", "7", "8", "9", "10"}, unused)
		assert.Empty(t, paused)
		assert.Equal(t, []string{"5", "6", "7", "8", "9", "10"}, reader)
	})
}

func TestMigration_IsRepeatedAfterAKill(t *testing.T) {
	t.Parallel()
	dir := extract(t, "before-durables.tar.gz")
	registrations := filepath.Join(streamDir(dir, "KV_dq_registry"), "msgs", "1.blk")
	before, err := os.ReadFile(registrations)
	require.NoError(t, err)
	withBroker(t, dir, func(api *sdk.Client) {
		fetch(t, api.Topic("T").Subscription("unused.one"), 2)
	})

	// The registrations do not say that the durables were made: the process was killed before.
	require.NoError(t, os.RemoveAll(filepath.Dir(registrations)))
	require.NoError(t, os.Mkdir(filepath.Dir(registrations), 0o750))
	require.NoError(t, os.WriteFile(registrations, before, 0o600))

	withBroker(t, dir, func(api *sdk.Client) { checkMigrated(t, api) })
}
