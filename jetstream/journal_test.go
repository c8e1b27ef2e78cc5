package jetstream

import (
	"context"
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

// process is what a process has that works with an engine.
type process struct {
	topics    *Topics
	consumers *Consumers
}

// startEngine starts an engine on dir.
func startEngine(t *testing.T, dir string) *engine.Server {
	t.Helper()
	server, err := engine.Start(engine.Options{Dir: dir, SyncInterval: time.Minute, MaxMessageBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	return server
}

// startProcess starts one. Another must not be used any more if either is alone.
func startProcess(t *testing.T, server *engine.Server, alone bool) process {
	t.Helper()
	nc, err := server.Connect()
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	topics, err := NewTopics(nc, StoreOptions{Storage: File, Replicas: 1, Alone: alone, Flush: server.Flush})
	require.NoError(t, err)
	consumers, err := NewConsumers(t.Context(), topics)
	require.NoError(t, err)
	return process{topics, consumers}
}

// TestPositionsOutliveTheProcess does what comes to mind with consumers, in
// processes that have the engine to themselves or not, and compares what they
// get with what they ought to.
func TestPositionsOutliveTheProcess(t *testing.T) {
	snapshotAfter = 7 // many snapshots
	server := startEngine(t, t.TempDir())
	ctx := t.Context()
	const messages, count = 40, 6
	p := startProcess(t, server, true)
	require.NoError(t, p.topics.Create(ctx, "T", p.topics.DefaultSettings()))
	for i := range messages {
		require.NoError(t, p.topics.Publish(ctx, "T", fmt.Append(nil, i+1)))
	}
	type state struct {
		consumer Consumer
		position uint64
		gone     bool
	}
	var states []*state
	for id := range int64(count) {
		states = append(states, &state{consumer: Consumer{ID: id, Topic: "T", Start: uint64(id)}, position: uint64(id)})
	}
	for process := range 30 {
		var all sync.WaitGroup
		for _, s := range states {
			all.Go(func() {
				for range 20 {
					step(ctx, t, p, s.consumer, &s.position, &s.gone, messages)
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

// step does one thing with consumer, which is at position.
func step(ctx context.Context, t *testing.T, p process, consumer Consumer, position *uint64, gone *bool, messages uint64) {
	var got []Delivery
	var err error
	wanted := 1 + rand.IntN(3)
	switch rand.IntN(12) {
	case 0:
		to := rand.Uint64N(messages + 1)
		if err = p.consumers.Seek(ctx, consumer, to); err == nil {
			*position = to
		}
	case 1:
		var state State
		if state, err = p.consumers.State(ctx, consumer); err == nil {
			assert.Equal(t, *position, state.Position)
		}
	case 2:
		err = p.consumers.Pause(ctx, consumer, time.Time{})
	default:
		got, err = p.consumers.Fetch(ctx, consumer, Limits{Messages: wanted, Bytes: 1000})
		if err == nil && uint64(len(got)) != min(uint64(wanted), messages-*position) {
			t.Errorf("%d of %d messages behind %d", len(got), wanted, *position)
		}
	}
	if *gone {
		var want *ConsumerNotFoundError
		assert.ErrorAs(t, err, &want)
		return
	}
	assert.NoError(t, err)
	for _, d := range got {
		*position++
		assert.Equal(t, *position, d.Sequence)
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
