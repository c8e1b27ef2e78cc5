package jetstream

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream/engine"
)

// process has what a process needs to work with an engine.
type process struct {
	topics    *Topics
	consumers *Consumers
}

// startEngine starts an engine on dir.
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

// startProcess connects a process. If it or an earlier one is alone, the earlier one
// must not be used any more.
func startProcess(t *testing.T, server *engine.Server, alone bool) process {
	t.Helper()
	nc, err := server.Connect()
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	topics, err := NewTopics(nc, StoreOptions{Storage: File, Replicas: 1, Alone: alone, Flush: server.Flush})
	require.NoError(t, err)
	consumers, err := NewConsumers(t.Context(), topics)
	require.NoError(t, err)
	return process{topics: topics, consumers: consumers}
}

// Random calls of consumers, in processes that have the engine to themselves or not,
// are compared with what they should return.
func TestJournal_PositionsOutliveTheProcess(t *testing.T) {
	setSnapshotAfter(t, 7)
	server := startEngine(t, t.TempDir())
	ctx := t.Context()
	const messages, count = 40, 6
	p := startProcess(t, server, true)
	require.NoError(t, p.topics.Create(ctx, "T", p.topics.DefaultSettings()))
	for i := range messages {
		require.NoError(t, p.topics.Publish(ctx, "T", fmt.Append(nil, i+1)))
	}

	var states []*state
	for id := range int64(count) {
		consumer := Consumer{ID: id, Topic: "T", Start: uint64(id)}
		states = append(states, &state{consumer: consumer, position: uint64(id)})
	}

	for process := range 30 {
		var all sync.WaitGroup
		for _, s := range states {
			all.Go(func() {
				for range 20 {
					s.step(t, p, messages)
				}
			})
		}
		all.Wait()

		if s := states[0]; process%7 == 6 && !s.gone {
			require.NoError(t, p.consumers.Remove(ctx, s.consumer))
			s.gone = true
		} else if s.gone {
			states = append(states[1:], &state{consumer: Consumer{ID: int64(count + process), Topic: "T"}})
		}
		p = startProcess(t, server, process%3 != 1)
	}
}

// setSnapshotAfter has journals write a snapshot after n messages, until the test ends.
func setSnapshotAfter(t *testing.T, n uint64) {
	was := snapshotAfter
	snapshotAfter = n
	t.Cleanup(func() { snapshotAfter = was })
}

func TestJournal_SnapshotReplacesOlderMessages(t *testing.T) {
	setSnapshotAfter(t, 10)
	server := startEngine(t, t.TempDir())
	p := startProcess(t, server, true)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	for range 100 {
		require.NoError(t, p.topics.Publish(t.Context(), "T", []byte("x")))
	}
	idle, busy := Consumer{ID: 1, Topic: "T"}, Consumer{ID: 2, Topic: "T"}

	_, err := p.consumers.Next(t.Context(), idle)
	require.NoError(t, err)
	for range 50 {
		_, err := p.consumers.Next(t.Context(), busy)
		require.NoError(t, err)
	}

	stream, err := p.topics.js.Stream(t.Context(), journalStream)
	require.NoError(t, err)
	trimmed := func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs < 30
	}
	require.Eventually(t, trimmed, time.Minute, 10*time.Millisecond)
	p = startProcess(t, server, true)
	for consumer, want := range map[Consumer]uint64{idle: 1, busy: 50} {
		state, err := p.consumers.State(t.Context(), consumer)
		require.NoError(t, err)
		assert.Equal(t, State{Position: want, Lag: 100 - want, Dropped: new(uint64)}, state)
	}
}

func TestJournal_RecordOfReplacedEntryIsVoid(t *testing.T) {
	server := startEngine(t, t.TempDir())
	j := startProcess(t, server, true).consumers.cursors.journal

	moved, err := j.move(t.Context(), record{consumer: 1, revision: 5, from: 0, to: 7})
	require.NoError(t, err)
	same, newer := Cursor{revision: 5}, Cursor{Position: 3, revision: 6}
	j.apply(1, &same)
	j.apply(1, &newer)

	assert.True(t, moved)
	assert.EqualValues(t, 7, same.Position)
	assert.EqualValues(t, 3, newer.Position)
}

func TestJournal_MoveFromAnotherPositionIsRefused(t *testing.T) {
	server := startEngine(t, t.TempDir())
	j := startProcess(t, server, true).consumers.cursors.journal
	first, err := j.move(t.Context(), record{consumer: 1, from: 0, to: 1})
	require.NoError(t, err)

	stale, err := j.move(t.Context(), record{consumer: 1, from: 0, to: 2})
	require.NoError(t, err)
	next, err := j.move(t.Context(), record{consumer: 1, from: 1, to: 2})
	require.NoError(t, err)
	answers := j.write(t.Context(), record{consumer: 2, to: 1}, record{consumer: 2, to: 1})

	assert.True(t, first)
	assert.False(t, stale, "the consumer is at 1 already")
	assert.True(t, next)
	assert.NoError(t, answers[0].err)
	assert.ErrorIs(t, answers[1].err, errMoved, "two moves of one consumer in a batch")
}

func TestJournal_EndsWhenOtherProcessesShareTheEngine(t *testing.T) {
	server := startEngine(t, t.TempDir())
	p := startProcess(t, server, true)
	require.NoError(t, p.topics.Create(t.Context(), "T", p.topics.DefaultSettings()))
	require.NoError(t, p.topics.Publish(t.Context(), "T", []byte("x")))
	_, err := p.consumers.Next(t.Context(), Consumer{ID: 1, Topic: "T"})
	require.NoError(t, err)

	p = startProcess(t, server, false)
	entry, entryErr := p.consumers.cursors.kv.Get(t.Context(), "1")
	_, err = p.topics.js.Stream(t.Context(), journalStream)

	require.NoError(t, entryErr)
	assert.Equal(t, "1", string(entry.Value()))
	assert.True(t, isMissing(err), "%v", err)
}

// state is what a consumer of the test should be like.
type state struct {
	consumer Consumer
	position uint64
	gone     bool
}

// step makes one random call for the consumer in a process, and checks its result. The topic has that many messages.
func (s *state) step(t *testing.T, p process, messages uint64) {
	var got []Delivery
	var err error

	wanted := 1 + rand.IntN(3)
	switch rand.IntN(12) {
	case 0:
		to := rand.Uint64N(messages + 1)
		if err = p.consumers.Seek(t.Context(), s.consumer, to); err == nil {
			s.position = to
		}
	case 1:
		var is State
		if is, err = p.consumers.State(t.Context(), s.consumer); err == nil {
			assert.Equal(t, s.position, is.Position)
		}
	case 2:
		err = p.consumers.Pause(t.Context(), s.consumer, time.Time{})
	default:
		got, err = p.consumers.Fetch(t.Context(), s.consumer, Limits{Messages: wanted, Bytes: 1000})
		if err == nil && uint64(len(got)) != min(uint64(wanted), messages-s.position) {
			t.Errorf("%d of %d messages after %d", len(got), wanted, s.position)
		}
	}

	if s.gone {
		var want *ConsumerNotFoundError
		assert.ErrorAs(t, err, &want)
		return
	}
	assert.NoError(t, err)
	for _, d := range got {
		s.position++
		assert.Equal(t, s.position, d.Sequence)
	}
}

// FuzzRecords checks that what is read of a journal is what was written.
func FuzzRecords(f *testing.F) {
	f.Add(record{consumer: 7, revision: 1, from: 2, to: 300}.append(nil))
	f.Add([]byte{1, 2})
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := decodeRecords(data)
		if err != nil {
			return
		}
		var again []byte
		for _, r := range records {
			again = r.append(again)
		}
		back, err := decodeRecords(again)
		require.NoError(t, err)
		assert.Equal(t, records, back)
	})
}
