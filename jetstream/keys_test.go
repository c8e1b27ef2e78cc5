package jetstream

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Any process knows which keys wait, whoever has stored them.
func TestKeys_ProcessesShareTheKeysThatWait(t *testing.T) {
	t.Parallel()
	server := startEngine(t, t.TempDir())
	a, b := startProcess(t, server, false), startProcess(t, server, false)
	require.NoError(t, a.topics.Create(t.Context(), "T", a.topics.DefaultSettings()))
	first := StartDelayer(a.topics, slog.New(slog.DiscardHandler))
	defer first.Stop()
	second := StartDelayer(b.topics, slog.New(slog.DiscardHandler))
	defer second.Stop()
	later := []Draft{{ID: "k", At: time.Now().Add(time.Hour)}}

	accepted, err := first.Delay(t.Context(), "T", later)
	require.NoError(t, err)
	repeated, err := second.Delay(t.Context(), "T", later)
	require.NoError(t, err)
	now := second.PublishAll(t.Context(), "T", []Draft{{ID: "k"}, {ID: "free"}})

	assert.Equal(t, []Receipt{{Delayed: true}}, accepted)
	assert.Equal(t, []Receipt{{Delayed: true, Duplicate: true}}, repeated)
	assert.Equal(t, Receipt{Delayed: true, Duplicate: true}, now[0])
	assert.EqualValues(t, 1, now[1].Sequence)
}

// A message at once looks for a waiting key before and after it is stored. One that began
// to wait in between goes.
func TestKeys_MessageThatWasStoredMeanwhileDoesNotWait(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		p := startProcess(t, startEngine(t, t.TempDir()), alone)
		require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
		d := StartDelayer(p.topics, slog.New(slog.DiscardHandler))
		defer d.Stop()
		now := []Draft{{ID: "k"}}
		_, err := d.Delay(t.Context(), "T", []Draft{{ID: "k", At: time.Now().Add(time.Hour)}})
		require.NoError(t, err)
		receipts := p.topics.PublishAll(t.Context(), "T", now)

		d.release(t.Context(), "T", now, receipts)

		waiting, err := d.waiting(t.Context(), "T", now)
		require.NoError(t, err)
		assert.Nil(t, waiting, "alone: %t", alone)
		assert.NoError(t, receipts[0].Err)
	}
}

// What an earlier version has stored waits on other subjects, and without the last sequence
// of its topic.
func TestKeys_MessageOfAnEarlierVersionIsMoved(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), true)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	d := StartDelayer(p.topics, slog.New(slog.DiscardHandler))
	defer d.Stop()
	require.NoError(t, d.awaitOpen(t.Context()))
	stream, err := p.topics.stream(t.Context(), "T")
	require.NoError(t, err)
	draft := Draft{ID: "k", Data: []byte("old"), At: time.Now()}
	old := draft.wait("T", stream.CachedInfo())
	place := old.Subject[strings.LastIndex(old.Subject, "."):]
	old.Subject = waitSubject + "T" + place
	old.Header.Set("Nats-Schedule-Target", dueSubject+"T"+place)
	for _, name := range []string{
		delayAfter, "Nats-Expected-Last-Subject-Sequence", "Nats-Expected-Last-Subject-Sequence-Subject",
	} {
		old.Header.Del(name)
	}

	require.NoError(t, p.topics.publisher.publish(t.Context(), old)[0].err)

	assert.Equal(t, []string{"old"}, eventually(t, p.topics, "T", 1))
	assert.True(t, p.topics.PublishAll(t.Context(), "T", []Draft{{ID: "k"}})[0].Duplicate)
}
