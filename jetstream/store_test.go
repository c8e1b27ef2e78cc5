package jetstream_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dq/jetstream"
	"dq/jetstream/engine"
)

// store is what a process has that works with an engine.
type store struct {
	*jetstream.Topics
	consumers *jetstream.Consumers
}

// startEngine starts an engine with its files in dir, in memory if dir is empty.
func startEngine(t *testing.T, dir string) *engine.Server {
	t.Helper()
	server, err := engine.Start(engine.Options{
		Dir:             dir,
		SyncInterval:    time.Minute,
		MaxMessageBytes: 1 << 20,
		Logger:          slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	return server
}

// openStore connects to an engine. Only one store may be used if any is alone.
func openStore(t *testing.T, server *engine.Server, opts jetstream.StoreOptions) store {
	t.Helper()
	nc, err := server.Connect()
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	opts.Replicas = 1
	opts.Flush = server.Flush
	opts.RemoveDeletedFiles = server.RemoveDeletedFiles
	topics, err := jetstream.NewTopics(nc, opts)
	require.NoError(t, err)
	consumers, err := jetstream.NewConsumers(t.Context(), topics)
	require.NoError(t, err)
	return store{Topics: topics, consumers: consumers}
}

// inBothStorages runs test with a store in memory and with one in files.
func inBothStorages(t *testing.T, test func(t *testing.T, s store)) {
	t.Helper()
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, openStore(t, startEngine(t, ""), jetstream.StoreOptions{Storage: jetstream.Memory, Alone: true}))
	})
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		test(t, openStore(t, startEngine(t, t.TempDir()), jetstream.StoreOptions{Storage: jetstream.File, Alone: true}))
	})
}

// create creates a topic with settings changed by change, if it is not nil.
func (s store) create(t *testing.T, topic string, change func(*jetstream.Settings)) {
	t.Helper()
	settings := s.DefaultSettings()
	if change != nil {
		change(&settings)
	}
	require.NoError(t, s.Create(t.Context(), topic, settings))
}

// publish appends drafts to topic, and returns the receipts.
func (s store) publish(t *testing.T, topic string, drafts ...jetstream.Draft) []jetstream.Receipt {
	t.Helper()
	receipts := s.PublishAll(t.Context(), topic, drafts)
	for _, r := range receipts {
		require.NoError(t, r.Err)
	}
	return receipts
}

// read returns the texts of the messages in r.
func (s store) read(t *testing.T, topic string, r jetstream.Range) []string {
	t.Helper()
	if r.Max == 0 {
		r.Max = 100
	}
	if r.MaxBytes == 0 {
		r.MaxBytes = 1 << 20
	}
	messages, err := s.Read(t.Context(), topic, r)
	require.NoError(t, err)
	var texts []string
	for _, m := range messages {
		texts = append(texts, string(m.Data))
	}
	return texts
}

// fetch returns the texts of the next n messages of a consumer, and their tokens.
func (s store) fetch(t *testing.T, c jetstream.Consumer, n int) (texts, tokens []string) {
	t.Helper()
	out, err := s.consumers.Fetch(t.Context(), c, jetstream.Limits{Messages: n, Bytes: 1 << 20})
	require.NoError(t, err)
	for _, d := range out {
		texts = append(texts, string(d.Data))
		tokens = append(tokens, d.Token)
	}
	return texts, tokens
}

// drafts returns a draft for each text.
func drafts(texts ...string) []jetstream.Draft {
	out := make([]jetstream.Draft, len(texts))
	for i, text := range texts {
		out[i].Data = []byte(text)
	}
	return out
}

// soon returns a context that ends soon.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}
