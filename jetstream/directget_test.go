package jetstream

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReader_SmallReadPassesLargeOnesThatFillTheirPart(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), true)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	require.NoError(t, p.topics.Publish(t.Context(), "T", make([]byte, 200_000)))
	_, err := p.topics.Get(t.Context(), "T", 1) // from now on the size of the topic's messages is known
	require.NoError(t, err)
	large := &p.topics.reader.large
	release, err := large.acquire(t.Context(), large.limit)
	require.NoError(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()

	m, small := p.topics.Get(t.Context(), "T", 1)
	_, refused := p.topics.Read(ended, "T", Range{From: 1, Max: 10, MaxBytes: maxReadBytes})
	release()
	_, err = p.topics.Read(t.Context(), "T", Range{From: 1, Max: 10, MaxBytes: maxReadBytes})

	require.NoError(t, small)
	assert.Len(t, m.Data, 200_000)
	assert.ErrorContains(t, refused, "cannot read while other reads are under way")
	assert.NoError(t, err)
}

func TestReader_FirstReadOfATopicLearnsHowLargeItsMessagesAre(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), true)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	require.NoError(t, p.topics.Publish(t.Context(), "T", make([]byte, 1000)))

	bytes, known := p.topics.Expect(t.Context(), "T", 10, maxReadBytes)
	_, missing := p.topics.Expect(t.Context(), "missing", 1, 1)

	assert.Equal(t, 10_000, bytes)
	assert.True(t, known)
	assert.False(t, missing)
}

func TestReader_SizeOfMessagesIsKnownBeforeTheyAreRead(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), true)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	stream := StreamName("T")
	expected := func() int {
		bytes, _ := p.topics.reader.expect(stream, 1, 1)
		return bytes
	}

	unknown := expected()
	_, err := p.topics.Read(t.Context(), "T", Range{From: 1, Max: 1, MaxBytes: 1})
	require.NoError(t, err)
	empty := expected()
	_, leave, err := p.topics.watch(t.Context(), "T")
	require.NoError(t, err)
	defer leave()
	require.NoError(t, p.topics.Publish(t.Context(), "T", make([]byte, 200_000)))

	assert.GreaterOrEqual(t, unknown, int(p.topics.nc.MaxPayload()), "it may be the largest that there can be")
	assert.Less(t, empty, 2)
	assert.Eventually(t, func() bool { return expected() >= 200_000 }, 30*time.Second, time.Millisecond)
}
