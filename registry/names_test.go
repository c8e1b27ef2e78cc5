package registry

import (
	"sync"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"
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

// registerHalf registers a consumer under a name as a process does that ends after the first step.
func registerHalf(t *testing.T, r *Registry, c jetstream.Consumer) jetstream.Consumer {
	t.Helper()
	var err error
	c.ID, err = r.create(t.Context(), consumer, record{Consumer: c})
	require.NoError(t, err)
	return c
}

func TestName_UnfinishedRegistrationIsFinishedByTheNextCall(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	dead, living := open(t, nc), open(t, nc)
	a := registerHalf(t, dead, jetstream.Consumer{Topic: "T", Name: "a"})
	b := registerHalf(t, dead, jetstream.Consumer{Topic: "T", Name: "b"})
	_, missing := living.ConsumerByName(t.Context(), "T", "c")

	found, err := living.ConsumerByName(t.Context(), "T", "a")
	require.NoError(t, err)
	again, created, err := living.RegisterConsumer(t.Context(), jetstream.Consumer{Topic: "T", Name: "b"})
	require.NoError(t, err)

	assert.Equal(t, a, found)
	assert.Equal(t, b, again)
	assert.False(t, created)
	assert.EqualError(t, missing, "Consumer:c does not exist")
	list, err := living.ListConsumers(t.Context(), "T")
	require.NoError(t, err)
	assert.Equal(t, []jetstream.Consumer{a, b}, list)
}

func TestName_UnfinishedRegistrationsAreFinishedByAStart(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	dead := open(t, nc)
	owner := register(t, dead, jetstream.Consumer{Topic: "T", Name: "a"})
	loser := registerHalf(t, dead, jetstream.Consumer{Topic: "T", Name: "a"})
	free := registerHalf(t, dead, jetstream.Consumer{Topic: "T", Name: "b"})

	started := open(t, nc)
	require.NoError(t, started.FinishRegistrations(t.Context()))

	list, err := started.ListConsumers(t.Context(), "T")
	require.NoError(t, err)
	assert.Equal(t, []jetstream.Consumer{owner, free}, list)
	_, err = started.Consumer(t.Context(), loser.ID)
	var none *jetstream.ConsumerNotFoundError
	assert.ErrorAs(t, err, &none)
	c, err := started.ConsumerByName(t.Context(), "T", "b")
	require.NoError(t, err)
	assert.Equal(t, free, c)
}

func TestName_OfAConsumerThatWasDeletedHalfIsFree(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	dead, living := open(t, nc), open(t, nc)
	old := register(t, dead, jetstream.Consumer{Topic: "T", Name: "n"})
	require.NoError(t, dead.RemoveConsumer(t.Context(), old.ID)) // and dies before FreeName

	_, err := living.ConsumerByName(t.Context(), "T", "n")
	renewed := register(t, living, jetstream.Consumer{Topic: "T", Name: "n"})
	require.NoError(t, living.FreeName(t.Context(), old.ID))

	var none *jetstream.ConsumerNotFoundError
	require.ErrorAs(t, err, &none)
	assert.True(t, none.Deleted)
	found, err := dead.ConsumerByName(t.Context(), "T", "n")
	require.NoError(t, err)
	assert.Equal(t, renewed, found, "the name of another consumer stays")
}

func TestName_FreedLeavesNoEntry(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	r := open(t, nc)
	c := register(t, r, jetstream.Consumer{Topic: "T", Name: "n"})

	require.NoError(t, r.RemoveConsumer(t.Context(), c.ID))
	require.NoError(t, open(t, nc).FreeName(t.Context(), c.ID))

	_, err := r.kv.Get(t.Context(), nameKey("T", "n"))
	assert.ErrorIs(t, err, natsjs.ErrKeyNotFound)
}
