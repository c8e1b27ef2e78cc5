package jetstream

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream/engine"
)

// TestATopicIsMadeEmptyEvenOnAnEngineElsewhere has the engine remove a topic while
// it is still removing an earlier one of that name, and nobody sweep before.
func TestATopicIsMadeEmptyEvenOnAnEngineElsewhere(t *testing.T) {
	dir := t.TempDir()
	server := startEngine(t, dir)
	topics := startProcess(t, server, false).topics
	require.NoError(t, topics.Create(t.Context(), "T", topics.DefaultSettings()))
	require.NoError(t, topics.Publish(t.Context(), "T", []byte("old")))
	removing := filepath.Join(dir, engine.StreamsDir, "."+StreamName("T"))
	require.NoError(t, os.MkdirAll(filepath.Join(removing, "msgs"), 0o750))
	require.NoError(t, topics.Delete(t.Context(), "T"))

	made := make(chan error)
	go func() { made <- topics.Create(t.Context(), "T", topics.DefaultSettings()) }()
	require.NoError(t, os.RemoveAll(removing))
	require.NoError(t, <-made)
	last, err := topics.LastSequence(t.Context(), "T")
	require.NoError(t, err)
	assert.Zero(t, last)
}
