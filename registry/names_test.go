package registry

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream"
)

func TestName_IsRegisteredOnceInEachTopic(t *testing.T) {
	t.Parallel()
	r := open(t, connect(t))
	want := register(t, r, jetstream.Consumer{Topic: "A", Name: "n", Key: "first"})

	again, created, err := r.RegisterConsumer(t.Context(), jetstream.Consumer{Topic: "A", Name: "n", Key: "second"})

	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, want, again)
	assert.EqualValues(t, 1, register(t, r, jetstream.Consumer{Topic: "B", Name: "n"}).ID, "no id was lost")
	assert.EqualValues(t, 2, register(t, r, jetstream.Consumer{Topic: "A", Name: "N"}).ID)
}

func TestName_OneOfSeveralCallersGetsIt(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	processes := []*Registry{open(t, nc), open(t, nc)}
	const callers = 5

	var mu sync.Mutex
	ids := make(map[int64]int)
	created := 0
	var running sync.WaitGroup
	for _, r := range processes {
		for range callers {
			running.Go(func() {
				c, isNew, err := r.RegisterConsumer(t.Context(), jetstream.Consumer{Topic: "T", Name: "n"})
				assert.NoError(t, err)
				mu.Lock()
				defer mu.Unlock()
				ids[c.ID]++
				if isNew {
					created++
				}
			})
		}
	}
	running.Wait()

	assert.Len(t, ids, 1, "all got one consumer: %v", ids)
	assert.Equal(t, 1, created)
	for _, r := range processes {
		list, err := r.ListConsumers(t.Context(), "T")
		require.NoError(t, err)
		assert.Len(t, list, 1, "the others gave their ids up")
	}
}

func TestName_OfADeletedConsumerMayBeGivenAgain(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	first, second := open(t, nc), open(t, nc)
	old := register(t, first, jetstream.Consumer{Topic: "T", Name: "n"})
	_, err := second.ConsumerByName(t.Context(), "T", "n") // and remembers it
	require.NoError(t, err)
	require.NoError(t, first.RemoveConsumer(t.Context(), old.ID))

	renewed := register(t, first, jetstream.Consumer{Topic: "T", Name: "n"})

	assert.NotEqual(t, old.ID, renewed.ID)
	_, err = second.ListConsumers(t.Context(), "T") // returns when second has followed
	require.NoError(t, err)
	for _, r := range []*Registry{first, second} {
		c, err := r.ConsumerByName(t.Context(), "T", "n")
		require.NoError(t, err)
		assert.Equal(t, renewed, c)
	}
	_, err = first.ConsumerByName(t.Context(), "T", "other")
	assert.EqualError(t, err, "Consumer:other does not exist")
}

func TestName_MayBeAnyText(t *testing.T) {
	t.Parallel()
	r := open(t, connect(t))

	for _, name := range []string{"a.b", "*", ">", "ü ", "a"} {
		want := register(t, r, jetstream.Consumer{Topic: "T." + name, Name: name})

		got, err := r.ConsumerByName(t.Context(), "T."+name, name)

		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}
