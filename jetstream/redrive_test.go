package jetstream

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream/engine"
)

func TestRedrive_InterruptedCallIsFinished(t *testing.T) {
	t.Parallel()
	server, err := engine.Start(engine.Options{Logger: slog.New(slog.DiscardHandler), MaxMessageBytes: 1 << 20})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	nc, err := server.Connect()
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	topics, err := NewTopics(nc, StoreOptions{
		Replicas: 1, Alone: true, Storage: Memory, CallTimeout: time.Minute,
	})
	require.NoError(t, err)
	for _, topic := range []string{"T", "D"} {
		require.NoError(t, topics.Create(t.Context(), topic, topics.DefaultSettings()))
	}
	for n := range 3 {
		dead := Draft{Data: fmt.Append(nil, n), Headers: map[string]string{deadTopicHeader: "T"}}
		require.NoError(t, topics.PublishAll(t.Context(), "D", []Draft{dead})[0].Err)
	}

	// It has stored the second message, and not deleted it.
	all := RedriveQuery{Limit: 10, Allow: func(string) error { return nil }}
	dead, err := topics.Describe(t.Context(), "D")
	require.NoError(t, err)
	interrupted := redrive{topics: topics, dead: dead, query: all, refuse: make(map[string]error)}
	require.NoError(t, interrupted.finishEarlier(t.Context()))
	_, err = interrupted.prepare(t.Context(), "T")
	require.NoError(t, err)
	require.NoError(t, interrupted.storeRecord(t.Context()))
	m, err := topics.Get(t.Context(), "D", 2)
	require.NoError(t, err)
	require.NoError(t, topics.PublishAll(t.Context(), "T", []Draft{interrupted.draft(&m)})[0].Err)

	got, err := topics.Redrive(t.Context(), "D", all)

	require.NoError(t, err)
	assert.Equal(t, Redriven{Moved: 2}, got, "the other two")
	back, err := topics.Read(t.Context(), "T", Range{Max: 10, MaxBytes: 1000})
	require.NoError(t, err)
	var texts []string
	for _, m := range back {
		texts = append(texts, string(m.Data))
	}
	assert.Equal(t, []string{"1", "0", "2"}, texts)
	_, err = interrupted.kv.Get(t.Context(), "D")
	assert.Error(t, err, "the record is removed")
}
