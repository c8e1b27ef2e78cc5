package jetstream

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream/engine"
)

// delayed stores a message in topic that is due at once.
func delayed(t *testing.T, d *Delayer, topic string, drafts ...Draft) {
	t.Helper()
	for i := range drafts {
		drafts[i].At = time.Now()
	}
	receipts, err := d.Delay(t.Context(), topic, drafts)
	require.NoError(t, err)
	for _, r := range receipts {
		require.NoError(t, r.Err)
	}
}

// eventually waits until topic has n messages, and returns their texts.
func eventually(t *testing.T, topics *Topics, topic string, n int) (texts []string) {
	t.Helper()
	require.Eventually(t, func() bool {
		messages, err := topics.Read(t.Context(), topic, Range{From: 1, Max: 100, MaxBytes: 1 << 20})
		require.NoError(t, err)
		texts = nil
		for _, m := range messages {
			texts = append(texts, string(m.Data))
		}
		return len(texts) >= n
	}, time.Minute, 10*time.Millisecond)
	return texts
}

// A process ends between the move of a message and the end of its wait, and the topic
// forgets idempotency keys meanwhile.
func TestDelayer_MovedMessageIsNotMovedAgain(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), true)
	settings := p.topics.DefaultSettings()
	settings.DedupWindow = Duration(100 * time.Millisecond)
	require.NoError(t, p.topics.Create(t.Context(), "T", settings))
	var broken atomic.Bool
	p.topics.opts.Sync = func(ctx context.Context) error {
		if last, err := p.topics.LastSequence(ctx, "T"); last == 0 || err != nil || !broken.Load() {
			return err
		}
		return errors.New("the disk is gone")
	}
	broken.Store(true)
	first := StartDelayer(p.topics, slog.New(slog.DiscardHandler))
	delayed(t, first, "T", Draft{Data: []byte("moved"), Key: "k"})
	eventually(t, p.topics, "T", 1)
	first.Stop()
	newer := func() bool { return !p.topics.PublishAll(t.Context(), "T", []Draft{{ID: "newer"}})[0].Duplicate }
	require.True(t, newer())
	require.Eventually(t, newer, time.Minute, 20*time.Millisecond, "the topic has forgotten it, and all older ones")

	broken.Store(false)
	second := StartDelayer(p.topics, slog.New(slog.DiscardHandler))
	defer second.Stop()
	delayed(t, second, "T", Draft{Data: []byte("last")})

	texts := eventually(t, p.topics, "T", 4)
	assert.Equal(t, []string{"moved", "", "", "last"}, texts)
}

func TestDelayer_FullTopicHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), true)
	settings := p.topics.DefaultSettings()
	settings.MaxMessages, settings.WhenFull = 1, RefuseNew
	require.NoError(t, p.topics.Create(t.Context(), "full", settings))
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	log := new(countingHandler)
	d := StartDelayer(p.topics, slog.New(log))
	defer d.Stop()

	delayed(t, d, "full", make([]Draft, 500)...)
	eventually(t, p.topics, "full", 1)
	delayed(t, d, "T", Draft{Data: []byte("a")})
	other := eventually(t, p.topics, "T", 1)
	require.NoError(t, p.topics.Change(t.Context(), "full", func(s Settings) (Settings, error) {
		s.MaxMessages = 0
		return s, nil
	}))

	require.Eventually(t, func() bool {
		topic, err := p.topics.Describe(t.Context(), "full")
		return err == nil && topic.Messages == 500
	}, time.Minute, 10*time.Millisecond)
	assert.Equal(t, []string{"a"}, other)
	assert.LessOrEqual(t, log.lines.Load(), int64(2), "lines in the log")
}

// Processes that share an engine move each message once, also if the one that moves them
// ends.
func TestDelayer_ProcessesShareTheMoves(t *testing.T) {
	t.Parallel()
	server := startEngine(t, t.TempDir())
	a, b := startProcess(t, server, false), startProcess(t, server, false)
	require.NoError(t, a.topics.Create(t.Context(), "T", a.topics.DefaultSettings()))
	first := StartDelayer(a.topics, slog.New(slog.DiscardHandler))
	delayed(t, first, "T", Draft{Data: []byte("1")})
	eventually(t, b.topics, "T", 1)
	second := StartDelayer(b.topics, slog.New(slog.DiscardHandler))
	defer second.Stop()
	delayed(t, second, "T", Draft{Data: []byte("2")})
	eventually(t, b.topics, "T", 2)

	first.Stop()
	delayed(t, second, "T", Draft{Data: []byte("3")})

	assert.Equal(t, []string{"1", "2", "3"}, eventually(t, b.topics, "T", 3))
}

// countingHandler counts the lines of a log.
type countingHandler struct{ lines atomic.Int64 }

func (h *countingHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (h *countingHandler) Handle(context.Context, slog.Record) error { h.lines.Add(1); return nil }
func (h *countingHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h *countingHandler) WithGroup(string) slog.Handler             { return h }

func TestTopics_ShorterDedupWindowCountsAtOnce(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), true)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	publish := func() Receipt { return p.topics.PublishAll(t.Context(), "T", []Draft{{ID: "id"}})[0] }
	require.NoError(t, publish().Err)
	require.True(t, publish().Duplicate)

	require.NoError(t, p.topics.Change(t.Context(), "T", func(s Settings) (Settings, error) {
		s.DedupWindow = minDuration
		return s, nil
	}))

	again := func() bool { return !publish().Duplicate }
	assert.Eventually(t, again, 30*time.Second, 10*time.Millisecond, "it was two minutes")
}

func TestConsumers_ReadAheadIsNotUsedAfterAChange(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		server := startEngine(t, t.TempDir())
		p := startProcess(t, server, alone)
		other := p
		if !alone {
			other = startProcess(t, server, alone)
		}
		require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
		for _, text := range []string{"1", "2", "3"} {
			require.NoError(t, p.topics.Publish(t.Context(), "T", []byte(text)))
		}
		_, err := p.consumers.Next(t.Context(), Consumer{ID: 1, Topic: "T"})
		require.NoError(t, err)

		require.NoError(t, other.topics.Change(t.Context(), "T", func(s Settings) (Settings, error) {
			s.MaxMessages = 1
			return s, nil
		}))
		m, err := p.consumers.Next(t.Context(), Consumer{ID: 1, Topic: "T"})

		require.NoError(t, err)
		assert.Equal(t, "3", string(m.Data), "alone: %t", alone)
	}
}

func TestDelayer_LargestMessage(t *testing.T) {
	t.Parallel()
	server, err := engine.Start(engine.Options{
		Dir:             t.TempDir(),
		SyncInterval:    time.Minute,
		MaxMessageBytes: MaxMessageBytes,
		Logger:          slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	p := startProcess(t, server, true)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	d := StartDelayer(p.topics, slog.New(slog.DiscardHandler))
	defer d.Stop()
	data := make([]byte, MaxMessageBytes)
	headers := map[string]string{"a": string(bytes.Repeat([]byte("x"), 15<<10))}

	require.NoError(t, p.topics.PublishAll(t.Context(), "T", []Draft{{Data: data, Headers: headers}})[0].Err)
	delayed(t, d, "T", Draft{Data: data, Headers: headers})

	eventually(t, p.topics, "T", 1)
	require.Eventually(t, func() bool {
		last, err := p.topics.LastSequence(t.Context(), "T")
		return err == nil && last == 2
	}, time.Minute, 10*time.Millisecond)
}
