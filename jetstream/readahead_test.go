package jetstream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConsumers_ReadsAtOnePositionAreSharedOnlyIfAlone(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		p := startProcess(t, startEngine(t, t.TempDir()), alone)
		require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
		require.NoError(t, p.topics.Publish(t.Context(), "T", []byte("a")))

		for id := range int64(3) {
			m, err := p.consumers.Next(t.Context(), Consumer{ID: id, Topic: "T"})
			require.NoError(t, err)
			assert.Equal(t, "a", string(m.Data))
		}

		if !alone {
			assert.Nil(t, p.consumers.reads.kept)
			continue
		}
		shared, ok := p.consumers.reads.kept.Get(readKey{topic: "T", from: 1})
		require.True(t, ok)
		assert.EqualValues(t, 1, shared.begun.Load())
	}
}

func TestConsumers_LargeReadIsNotKept(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), true)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	require.NoError(t, p.topics.Publish(t.Context(), "T", make([]byte, 2*readAheadBytes+1)))

	_, err := p.consumers.Next(t.Context(), Consumer{ID: 1, Topic: "T"})

	require.NoError(t, err)
	assert.Zero(t, p.consumers.reads.kept.Len())
}

func TestConsumers_ReadAheadIsDroppedWhenItIsTooOldToBeUsed(t *testing.T) {
	t.Parallel()
	p := startProcess(t, startEngine(t, t.TempDir()), true)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	require.NoError(t, p.topics.Publish(t.Context(), "T", []byte("a")))
	require.NoError(t, p.topics.Publish(t.Context(), "T", []byte("b")))
	timers := 0
	p.consumers.after = func(time.Duration, func()) *time.Timer { timers++; return nil }
	_, err := p.consumers.Next(t.Context(), Consumer{ID: 1, Topic: "T"})
	require.NoError(t, err)
	s := p.consumers.state(1)
	read := s.ahead.at

	early := p.consumers.dropOld(read.Add(readAheadAge - 1))
	kept, shared := len(s.ahead.messages), p.consumers.reads.kept.Len()
	late := p.consumers.dropOld(read.Add(readAheadAge))

	assert.Equal(t, 1, timers)
	assert.True(t, early)
	assert.Equal(t, 1, kept)
	assert.Equal(t, 1, shared)
	assert.False(t, late)
	assert.Nil(t, s.ahead.messages)
	assert.Zero(t, p.consumers.reads.kept.Len())
}
