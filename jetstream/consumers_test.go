package jetstream_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream"
)

// numbered returns the texts of n messages.
func numbered(n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("%03d", i)
	}
	return texts
}

func TestConsumers_NextReturnsEachMessageOnceInOrder(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts(numbered(200)...)...)
		c := jetstream.Consumer{ID: 1, Topic: "T"}
		var mu sync.Mutex
		var all []string
		var workers sync.WaitGroup

		for range 8 {
			workers.Go(func() {
				var own []string
				for range 25 {
					m, err := s.consumers.Next(t.Context(), c)
					if !assert.NoError(t, err) {
						return
					}
					own = append(own, string(m.Data))
				}
				assert.IsIncreasing(t, own, "one worker gets messages in order")
				mu.Lock()
				defer mu.Unlock()
				all = append(all, own...)
			})
		}
		workers.Wait()
		_, err := s.consumers.Next(t.Context(), c)

		slices.Sort(all)
		assert.Equal(t, numbered(200), all)
		assert.Equal(t, &jetstream.EmptyError{Consumer: 1, Topic: "T"}, err)
	})
}

func TestConsumers_EachConsumerGetsEveryMessage(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a", "b", "c")...)

		for id := range int64(3) {
			texts, _ := s.fetch(t, jetstream.Consumer{ID: id, Topic: "T", Start: uint64(id)}, 10)
			assert.Equal(t, []string{"a", "b", "c"}[id:], texts, "it starts after %d", id)
		}
	})
}

func TestConsumers_FetchKeepsItsLimits(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts(numbered(150)...)...)
		c := jetstream.Consumer{ID: 1, Topic: "T"}

		byBytes, err := s.consumers.Fetch(t.Context(), c, jetstream.Limits{Messages: 100, Bytes: 4})
		require.NoError(t, err)
		byCount, _ := s.fetch(t, c, 3)
		many, _ := s.fetch(t, c, 140)
		rest, _ := s.fetch(t, c, 140)
		none, _ := s.fetch(t, c, 140)

		assert.Len(t, byBytes, 2, "the message that reaches the bytes is the last")
		assert.Equal(t, numbered(150)[2:5], byCount)
		assert.Equal(t, numbered(150)[5:], slices.Concat(many, rest))
		assert.Empty(t, none)
	})
}

func TestConsumers_KeyFiltersMessages(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		for i, text := range numbered(20) {
			s.publish(t, "T", jetstream.Draft{Key: fmt.Sprint("k", i%2), Data: []byte(text)})
		}

		texts, _ := s.fetch(t, jetstream.Consumer{ID: 1, Topic: "T", Key: "k1"}, 3)

		assert.Equal(t, []string{"001", "003", "005"}, texts)
	})
}

func TestConsumers_ManyProcessesShareOneConsumer(t *testing.T) {
	t.Parallel()
	server := startEngine(t, t.TempDir())
	processes := []store{openStore(t, server, jetstream.StoreOptions{}), openStore(t, server, jetstream.StoreOptions{})}
	processes[0].create(t, "T", nil)
	processes[0].publish(t, "T", drafts(numbered(100)...)...)
	c := jetstream.Consumer{ID: 1, Topic: "T"}

	var mu sync.Mutex
	var all []string
	var workers sync.WaitGroup
	for _, s := range processes {
		workers.Go(func() {
			for {
				out, err := s.consumers.Fetch(t.Context(), c, jetstream.Limits{Messages: 3, Bytes: 1000})
				if !assert.NoError(t, err) || len(out) == 0 {
					return
				}
				mu.Lock()
				for _, d := range out {
					all = append(all, string(d.Data))
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()

	slices.Sort(all)
	assert.Equal(t, numbered(100), all)
}

func TestConsumers_PositionSurvivesARestart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		before, after bool // the process is alone
	}{
		{name: "journal to journal", before: true, after: true},
		{name: "journal to entries", before: true, after: false},
		{name: "entries to journal", before: false, after: true},
		{name: "entries to entries", before: false, after: false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			server := startEngine(t, dir)
			s := openStore(t, server, jetstream.StoreOptions{Alone: test.before})
			s.create(t, "T", nil)
			s.publish(t, "T", drafts(numbered(10)...)...)
			auto := jetstream.Consumer{ID: 1, Topic: "T"}
			lease := jetstream.Consumer{ID: 2, Topic: "T", Lease: time.Hour, MaxInFlight: 10}
			s.fetch(t, auto, 4)
			_, tokens := s.fetch(t, lease, 3)

			server.Shutdown()
			s = openStore(t, startEngine(t, dir), jetstream.StoreOptions{Alone: test.after})
			autoTexts, _ := s.fetch(t, auto, 2)
			leaseTexts, _ := s.fetch(t, lease, 2)
			acked := s.consumers.Ack(t.Context(), lease, tokens)
			state, err := s.consumers.State(t.Context(), lease)

			require.NoError(t, err)
			assert.Equal(t, numbered(10)[4:6], autoTexts)
			assert.Equal(t, numbered(10)[3:5], leaseTexts)
			assert.NoError(t, acked, "a lease survives, too")
			assert.Equal(t, jetstream.State{Position: 5, Lag: 5, InFlight: 2, Dropped: new(uint64)}, state)
		})
	}
}

func TestConsumers_SeekMovesBackAndForth(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts(numbered(10)...)...)
		c := jetstream.Consumer{ID: 1, Topic: "T"}
		s.fetch(t, c, 5)

		require.NoError(t, s.consumers.Seek(t.Context(), c, 1))
		back, _ := s.fetch(t, c, 1)
		require.NoError(t, s.consumers.Seek(t.Context(), c, 9))
		forth, _ := s.fetch(t, c, 10)

		assert.Equal(t, numbered(10)[1:2], back)
		assert.Equal(t, numbered(10)[9:], forth)
	})
}

func TestConsumers_PausedConsumerGetsNothing(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a")...)
		c := jetstream.Consumer{ID: 1, Topic: "T"}
		until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)

		require.NoError(t, s.consumers.Pause(t.Context(), c, until))
		paused, _ := s.fetch(t, c, 1)
		state, err := s.consumers.State(t.Context(), c)
		require.NoError(t, err)
		require.NoError(t, s.consumers.Pause(t.Context(), c, time.Time{}))
		resumed, _ := s.fetch(t, c, 1)

		assert.Empty(t, paused)
		assert.Equal(t, jetstream.State{Lag: 1, PausedUntil: until, Dropped: new(uint64)}, state)
		assert.Equal(t, []string{"a"}, resumed)
	})
}

func TestConsumers_StreamThatTakesOverEndsTheEarlierOne(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a", "b", "c")...)
		c := jetstream.Consumer{ID: 1, Topic: "T"}
		fetch := func(stream uint64) ([]jetstream.Delivery, error) {
			return s.consumers.Fetch(t.Context(), c, jetstream.Limits{Messages: 2, Bytes: 1000, Stream: &stream})
		}
		first, err := s.consumers.TakeOver(t.Context(), c, nil)
		require.NoError(t, err)
		sent, err := fetch(first)
		require.NoError(t, err)
		require.Len(t, sent, 2)

		second, err := s.consumers.TakeOver(t.Context(), c, new(uint64(1))) // only "a" was received
		require.NoError(t, err)
		_, earlier := fetch(first)
		again, err := fetch(second)

		require.NoError(t, err)
		assert.Equal(t, &jetstream.SupersededError{}, earlier)
		assert.Equal(t, "b", string(again[0].Data))
	})
}

func TestConsumers_RemovedConsumerIsNotFound(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a")...)
		c := jetstream.Consumer{ID: 1, Topic: "T"}
		want := &jetstream.ConsumerNotFoundError{Consumer: "1", Deleted: true}

		require.NoError(t, s.consumers.Remove(t.Context(), c))
		require.NoError(t, s.consumers.Remove(t.Context(), c), "twice is as good as once")
		_, next := s.consumers.Next(t.Context(), c)
		_, state := s.consumers.State(t.Context(), c)
		seek := s.consumers.Seek(t.Context(), c, 0)

		for _, err := range []error{next, state, seek} {
			assert.Equal(t, want, err)
		}
	})
}

func TestConsumers_MessagesReadAheadEndWithAPurge(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a", "b", "c")...)
		c, other := jetstream.Consumer{ID: 1, Topic: "T"}, jetstream.Consumer{ID: 2, Topic: "T"}
		s.fetch(t, c, 1)
		s.fetch(t, other, 1)

		_, err := s.Purge(t.Context(), "T", 0)
		require.NoError(t, err)
		none, _ := s.fetch(t, c, 1)
		s.publish(t, "T", drafts("d")...)
		next, _ := s.fetch(t, c, 1)
		shared, _ := s.fetch(t, other, 1)

		assert.Empty(t, none)
		assert.Equal(t, []string{"d"}, next)
		assert.Equal(t, []string{"d"}, shared)
	})
}

func TestConsumers_FetchWaitReturnsTheNextMessage(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		c := jetstream.Consumer{ID: 1, Topic: "T"}
		limits := jetstream.Limits{Messages: 10, Bytes: 1000}
		nothing, err := s.consumers.FetchWait(soon(t), c, limits)
		require.NoError(t, err)
		assert.Empty(t, nothing, "the end of the context is no error")
		published := make(chan error, 1)

		go func() { published <- s.Publish(t.Context(), "T", []byte("a")) }()
		got, err := s.consumers.FetchWait(t.Context(), c, limits)

		require.NoError(t, err)
		require.NoError(t, <-published)
		require.Len(t, got, 1)
		assert.Equal(t, "a", string(got[0].Data))
	})
}

func TestConsumers_FetchWaitOfMissingTopicIsNotFound(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		c := jetstream.Consumer{ID: 1, Topic: "T"}

		_, err := s.consumers.FetchWait(t.Context(), c, jetstream.Limits{Messages: 1, Bytes: 1})

		assert.Equal(t, &jetstream.TopicNotFoundError{Topic: "T"}, err)
	})
}

func TestConsumers_NackedMessageIsDeliveredAgain(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a", "b")...)
		c := jetstream.Consumer{ID: 1, Topic: "T", Lease: time.Hour, MaxInFlight: 2}
		_, first := s.fetch(t, c, 2)

		require.NoError(t, s.consumers.Ack(t.Context(), c, first[1:]))
		require.NoError(t, s.consumers.Nack(t.Context(), c, first[:1], 0))
		out, err := s.consumers.Fetch(t.Context(), c, jetstream.Limits{Messages: 2, Bytes: 1000})
		require.NoError(t, err)
		late := s.consumers.Ack(t.Context(), c, first[:1])

		require.Len(t, out, 1)
		assert.Equal(t, 2, out[0].Deliveries)
		assert.Equal(t, "a", string(out[0].Data))
		assert.Equal(t, &jetstream.LeaseError{Tokens: first[:1]}, late)
	})
}

func TestConsumers_MessageDeliveredTooOftenIsDeadLettered(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", jetstream.Draft{
			Key: "k", ContentType: "text/plain", Headers: map[string]string{"Trace": "7"}, Data: []byte("a"),
		})
		c := jetstream.Consumer{
			ID: 1, Name: "worker", Topic: "T", Lease: time.Hour, MaxInFlight: 2,
			MaxDeliveries: 1, DeadLetterTopic: "dead",
		}
		s.create(t, "dead", nil)
		_, tokens := s.fetch(t, c, 1)

		require.NoError(t, s.consumers.Nack(t.Context(), c, tokens, 0))
		none, _ := s.fetch(t, c, 1)
		dead, err := s.Get(t.Context(), "dead", 1)

		require.NoError(t, err)
		dead.Time = time.Time{}
		assert.Empty(t, none)
		assert.EqualExportedValues(t, jetstream.Message{
			Sequence:    1,
			Key:         "k",
			ContentType: "text/plain",
			Headers: map[string]string{
				"Trace":              "7",
				"Dq-Dead-Reason":     "max_deliveries",
				"Dq-Dead-Topic":      "T",
				"Dq-Dead-Sequence":   "1",
				"Dq-Dead-Consumer":   "worker",
				"Dq-Dead-Deliveries": "1",
			},
			Data: []byte("a"),
		}, dead)
	})
}

func TestConsumers_ModesDoNotMix(t *testing.T) {
	t.Parallel()
	s := openStore(t, startEngine(t, ""), jetstream.StoreOptions{Storage: jetstream.Memory})
	s.create(t, "T", nil)

	_, next := s.consumers.Next(t.Context(), jetstream.Consumer{ID: 1, Topic: "T", Lease: time.Second})
	ack := s.consumers.Ack(t.Context(), jetstream.Consumer{ID: 2, Topic: "T"}, []string{"2-0-1-1"})

	assert.IsType(t, &jetstream.ModeError{}, next)
	assert.IsType(t, &jetstream.ModeError{}, ack)
}

func TestConsumers_RewindMovesBackToTheLastMessage(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a", "b", "c")...)
		moved, kept := jetstream.Consumer{ID: 1, Topic: "T"}, jetstream.Consumer{ID: 2, Topic: "T"}
		s.fetch(t, moved, 3)
		s.fetch(t, kept, 1)
		require.NoError(t, s.Delete(t.Context(), "T")) // stands for a power cut
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a", "b")...)

		rewound, err := s.consumers.Rewind(t.Context(), []jetstream.Consumer{moved, kept})
		require.NoError(t, err)
		s = store{Topics: s.Topics, consumers: newConsumers(t, s.Topics)}
		s.publish(t, "T", drafts("new")...)
		movedTexts, _ := s.fetch(t, moved, 10)
		keptTexts, _ := s.fetch(t, kept, 10)

		assert.Equal(t, 1, rewound)
		assert.Equal(t, []string{"new"}, movedTexts)
		assert.Equal(t, []string{"b", "new"}, keptTexts)
	})
}

// newConsumers returns consumers that remember nothing.
func newConsumers(t *testing.T, topics *jetstream.Topics) *jetstream.Consumers {
	t.Helper()
	consumers, err := jetstream.NewConsumers(context.WithoutCancel(t.Context()), topics)
	require.NoError(t, err)
	return consumers
}
