package jetstream

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A process ends between the move of a message and its confirmation, and the topic
// forgets idempotency keys meanwhile.
func TestDelayer_MovedMessageIsNotMovedAgain(t *testing.T) {
	server := startEngine(t, t.TempDir())
	topics := startProcess(t, server, true).topics
	settings := topics.DefaultSettings()
	settings.DedupWindow = Duration(100 * time.Millisecond)
	require.NoError(t, topics.Create(t.Context(), "T", settings))
	start := func() *Delayer {
		d, err := StartDelayer(t.Context(), topics, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		return d
	}
	start().Stop() // creates the stream
	stream, err := topics.stream(t.Context(), "T")
	require.NoError(t, err)

	for _, draft := range []Draft{
		{Data: []byte("moved"), Key: "k", ID: "dq-delayed-1"},
		{Data: []byte("not moved"), Key: "k", ID: "dq-delayed-2"},
	} {
		draft.At = time.Now()
		due := draft.wait("T", creation(stream))
		m := &nats.Msg{Subject: dueSubject + "T", Header: nats.Header{}, Data: due.Data}
		for name, values := range due.Header {
			if strings.HasPrefix(name, "Dq-") {
				m.Header[name] = values
			}
		}
		require.NoError(t, topics.publisher.publish(t.Context(), m)[0].err)
		if string(draft.Data) == "moved" {
			moved := Draft{Data: draft.Data, Key: draft.Key, ID: draft.ID}
			require.NoError(t, topics.PublishAll(t.Context(), "T", []Draft{moved})[0].Err)
		}
	}
	newer := func() bool { return !topics.PublishAll(t.Context(), "T", []Draft{{ID: "newer"}})[0].Duplicate }
	require.True(t, newer())
	require.Eventually(t, newer, time.Minute, 20*time.Millisecond, "the topic has forgotten it, and all older ones")

	defer start().Stop()

	var texts []string
	require.Eventually(t, func() bool {
		messages, err := topics.Read(t.Context(), "T", Range{From: 1, Key: "k", Max: 10, MaxBytes: 1 << 20})
		require.NoError(t, err)
		texts = nil
		for _, m := range messages {
			texts = append(texts, string(m.Data))
		}
		return len(texts) >= 2
	}, time.Minute, 10*time.Millisecond)
	assert.Equal(t, []string{"moved", "not moved"}, texts)
}
