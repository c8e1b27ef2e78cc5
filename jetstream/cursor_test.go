package jetstream

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCursor_PositionWhoseConfirmationIsLostOrWrongIsReadBack(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), false)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	for _, text := range []string{"a", "b", "c"} {
		require.NoError(t, p.topics.Publish(t.Context(), "T", []byte(text)))
	}
	answers := []error{context.DeadlineExceeded, &jetstream.APIError{ErrorCode: codeWrongLastSequence}, nil}
	publish := p.consumers.cursors.batcher.publish
	p.consumers.cursors.batcher.publish = func(ctx context.Context, msgs ...*nats.Msg) []publishAnswer {
		stored := publish(ctx, msgs...)
		if answers[0] != nil {
			stored = []publishAnswer{{received: true, err: answers[0]}}
		}
		answers = answers[1:]
		return stored
	}

	var got []string
	for range 3 {
		m, err := p.consumers.Next(t.Context(), Consumer{ID: 1, Topic: "T"})
		require.NoError(t, err)
		got = append(got, string(m.Data))
	}

	assert.Equal(t, []string{"a", "b", "c"}, got)
}

func TestRead_LeaderReturnsTheSameMessageOrNone(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), false)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	draft := Draft{Key: "k", ContentType: "text/plain", Headers: map[string]string{"h": "v"}, Data: []byte("a")}
	require.NoError(t, p.topics.PublishAll(t.Context(), "T", []Draft{draft})[0].Err)

	replica, err := p.topics.Read(t.Context(), "T", Range{From: 1, Max: 1, MaxBytes: 1})
	require.NoError(t, err)
	leader, err := p.topics.readFromLeader(t.Context(), "T", Range{From: 1}, false)
	require.NoError(t, err)
	after, err := p.topics.readFromLeader(t.Context(), "T", Range{From: 2}, false)
	require.NoError(t, err)
	_, missing := p.topics.readFromLeader(t.Context(), "U", Range{From: 1}, false)

	assert.Equal(t, replica, leader)
	assert.Empty(t, after)
	var none *TopicNotFoundError
	assert.ErrorAs(t, missing, &none)
}

func TestPublish_RefusalOfWhatWasStoredIsNotBelieved(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), false)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	publish := func(write string) publishAnswer {
		msgs := encodeAll("T", []Draft{{Data: []byte("a")}, {Data: []byte("b")}})
		msgs[0].Header[jetstream.ExpectedLastSeqHeader] = []string{"0"}
		msgs[0].Header[writeHeader] = []string{write}
		return p.topics.publishExpecting(t.Context(), "T", msgs, new(uint64(0)))
	}

	first, again, other := publish("one"), publish("one"), publish("another")
	read, err := p.topics.Get(t.Context(), "T", 1)

	require.NoError(t, err)
	assert.EqualValues(t, 2, first.sequence)
	assert.NoError(t, again.err, "as if a server had refused it after another one stored it")
	assert.EqualValues(t, 2, again.sequence)
	assert.True(t, isConflict(other.err), other.err)
	assert.Empty(t, read.Headers)
}
