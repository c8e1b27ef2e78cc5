package jetstream_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream"
	"dq/jetstream/engine"
)

// The engine removes a topic while it is still removing an earlier one of that name,
// and nothing calls RemoveDeletedFiles.
func TestTopics_CreatedAgainIsEmptyOnAnEngineElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startEngine(t, dir)
	nc, err := server.Connect()
	require.NoError(t, err)
	defer nc.Close()
	topics, err := jetstream.NewTopics(nc, jetstream.StoreOptions{Storage: jetstream.File, Replicas: 1})
	require.NoError(t, err)
	require.NoError(t, topics.Create(t.Context(), "T", topics.DefaultSettings()))
	require.NoError(t, topics.Publish(t.Context(), "T", []byte("old")))
	removing := filepath.Join(dir, engine.StreamsDir, "."+jetstream.StreamName("T"))
	require.NoError(t, os.MkdirAll(filepath.Join(removing, "msgs"), 0o750))
	require.NoError(t, topics.Delete(t.Context(), "T"))

	created := make(chan error)
	go func() { created <- topics.Create(t.Context(), "T", topics.DefaultSettings()) }()
	require.NoError(t, os.RemoveAll(removing))

	require.NoError(t, <-created)
	last, err := topics.LastSequence(t.Context(), "T")
	require.NoError(t, err)
	assert.Zero(t, last)
}
