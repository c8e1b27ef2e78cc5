package registry

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"dq/jetstream"
	"dq/jetstream/engine"
)

// connect starts an engine in memory and returns a connection to it.
func connect(t *testing.T) *nats.Conn {
	t.Helper()
	server, err := engine.Start(engine.Options{MaxMessageBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(server.Shutdown)
	nc, err := server.Connect()
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// open opens the registry as another process does.
func open(t *testing.T, nc *nats.Conn) *Registry {
	t.Helper()
	r, err := Open(t.Context(), nc, jetstream.Memory, 1)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// register registers a consumer that must not exist yet.
func register(t *testing.T, r *Registry, c jetstream.Consumer) jetstream.Consumer {
	t.Helper()
	registered, created, err := r.RegisterConsumer(t.Context(), c)
	require.NoError(t, err)
	require.True(t, created)
	return registered
}

func TestRegister_IDsAreDenseFromZeroForEachKind(t *testing.T) {
	t.Parallel()
	r := open(t, connect(t))

	for id := range int64(5) {
		p, err := r.RegisterProducer(t.Context(), "T")
		require.NoError(t, err)
		c := register(t, r, jetstream.Consumer{Topic: "T", Start: uint64(id)})

		assert.Equal(t, Producer{ID: id, Topic: "T"}, p)
		assert.Equal(t, jetstream.Consumer{ID: id, Topic: "T", Start: uint64(id)}, c)
	}
}

func TestRegister_IDsContinueInAnotherProcess(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	first, second := open(t, nc), open(t, nc)
	const n = 20
	for range n {
		register(t, first, jetstream.Consumer{Topic: "T"})
	}

	c := register(t, second, jetstream.Consumer{Topic: "T"})
	next := register(t, first, jetstream.Consumer{Topic: "T"})

	assert.EqualValues(t, n, c.ID, "found by steps and halves")
	assert.EqualValues(t, n+1, next.ID)
}

func TestRegister_NoIDIsGivenTwiceOrLeftOut(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	processes := []*Registry{open(t, nc), open(t, nc), open(t, nc)}
	const callers, each = 4, 10

	var mu sync.Mutex
	var ids []int64
	var running sync.WaitGroup
	for _, r := range processes {
		for range callers {
			running.Go(func() {
				for range each {
					p, err := r.RegisterProducer(t.Context(), "T")
					if !assert.NoError(t, err) {
						return
					}
					mu.Lock()
					ids = append(ids, p.ID)
					mu.Unlock()
				}
			})
		}
	}
	running.Wait()

	slices.Sort(ids)
	want := make([]int64, len(processes)*callers*each)
	for i := range want {
		want[i] = int64(i)
	}
	assert.Equal(t, want, ids)
}

func TestRegister_IDOfADeletedConsumerIsNotGivenAgain(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	r := open(t, nc)
	register(t, r, jetstream.Consumer{Topic: "T"})
	last := register(t, r, jetstream.Consumer{Topic: "T"})

	require.NoError(t, r.RemoveConsumer(t.Context(), last.ID))

	assert.EqualValues(t, 2, register(t, r, jetstream.Consumer{Topic: "T"}).ID)
	assert.EqualValues(t, 3, register(t, open(t, nc), jetstream.Consumer{Topic: "T"}).ID)
}

func TestLookup_EveryProcessFindsWhatAnyRegistered(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	first, second := open(t, nc), open(t, nc)
	want := register(t, first, jetstream.Consumer{
		Topic: "T", Start: 7, TopicCreated: 42, Name: "n", Key: "k",
		Lease: time.Minute, MaxInFlight: 3, MaxDeliveries: 4, DeadLetterTopic: "D",
	})
	producer, err := first.RegisterProducer(t.Context(), "T")
	require.NoError(t, err)

	for _, r := range []*Registry{first, second} {
		c, err := r.Consumer(t.Context(), want.ID)
		require.NoError(t, err)
		assert.Equal(t, want, c)

		c, err = r.ConsumerByName(t.Context(), "T", "n")
		require.NoError(t, err)
		assert.Equal(t, want, c)

		p, err := r.Producer(t.Context(), producer.ID)
		require.NoError(t, err)
		assert.Equal(t, producer, p)
	}
}

func TestLookup_SaysWhatDoesNotExistAndWhatWasDeleted(t *testing.T) {
	t.Parallel()
	r := open(t, connect(t))
	c := register(t, r, jetstream.Consumer{Topic: "T"})
	p, err := r.RegisterProducer(t.Context(), "T")
	require.NoError(t, err)
	require.NoError(t, r.RemoveConsumer(t.Context(), c.ID))
	require.NoError(t, r.RemoveProducer(t.Context(), p.ID))

	for id, want := range map[int64]string{
		-1: "Consumer:-1 does not exist", 5: "Consumer:5 does not exist",
		0: "Consumer:0 does not exist any more: it was deleted, or Topic:T was",
	} {
		_, err := r.Consumer(t.Context(), id)
		var none *jetstream.ConsumerNotFoundError
		assert.ErrorAs(t, err, &none)
		assert.EqualError(t, err, want)
	}
	for id, want := range map[int64]string{
		-1: "Producer:-1 does not exist", 5: "Producer:5 does not exist",
		0: "Producer:0 does not exist any more: it was deleted, or Topic:T was",
	} {
		_, err := r.Producer(t.Context(), id)
		var none *ProducerNotFoundError
		assert.ErrorAs(t, err, &none)
		assert.EqualError(t, err, want)
	}
	assert.EqualError(t, r.RemoveConsumer(t.Context(), c.ID), "Consumer:0 does not exist", "it was removed before")
	assert.EqualError(t, r.RemoveProducer(t.Context(), 9), "Producer:9 does not exist")
}

func TestLookup_OfARememberedIDAllocatesNothing(t *testing.T) {
	r := open(t, connect(t))
	c := register(t, r, jetstream.Consumer{Topic: "T"})
	p, err := r.RegisterProducer(t.Context(), "T")
	require.NoError(t, err)

	allocations := testing.AllocsPerRun(100, func() {
		_, err1 := r.Consumer(t.Context(), c.ID)
		_, err2 := r.Producer(t.Context(), p.ID)
		if err1 != nil || err2 != nil {
			t.Error(err1, err2)
		}
	})

	assert.Zero(t, allocations)
}

func TestRemove_EveryProcessForgetsTheConsumer(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	first, second := open(t, nc), open(t, nc)
	c := register(t, first, jetstream.Consumer{Topic: "T", Name: "n"})
	_, err := second.Consumer(t.Context(), c.ID) // and remembers it
	require.NoError(t, err)

	require.NoError(t, first.RemoveConsumer(t.Context(), c.ID))

	list, err := second.ListConsumers(t.Context(), "T") // returns when second has followed
	require.NoError(t, err)
	assert.Empty(t, list)
	var none *jetstream.ConsumerNotFoundError
	_, err = second.Consumer(t.Context(), c.ID)
	assert.ErrorAs(t, err, &none)
	_, err = second.ConsumerByName(t.Context(), "T", "n")
	assert.ErrorAs(t, err, &none)
}

func TestList_HasTheIDsOfOneTopicInOrder(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	r := open(t, nc)
	var consumers []jetstream.Consumer
	var producers []Producer
	for range 3 {
		consumers = append(consumers, register(t, r, jetstream.Consumer{Topic: "A", Start: 9}))
		register(t, r, jetstream.Consumer{Topic: "B"})
		p, err := r.RegisterProducer(t.Context(), "A")
		require.NoError(t, err)
		producers = append(producers, p)
	}
	require.NoError(t, r.RemoveConsumer(t.Context(), consumers[1].ID))
	consumers = slices.Delete(consumers, 1, 2)
	require.NoError(t, r.RemoveProducer(t.Context(), producers[0].ID))
	producers = producers[1:]

	for _, r := range []*Registry{r, open(t, nc)} {
		gotConsumers, err := r.ListConsumers(t.Context(), "A")
		require.NoError(t, err)
		assert.Equal(t, consumers, gotConsumers)

		gotProducers, err := r.ListProducers(t.Context(), "A")
		require.NoError(t, err)
		assert.Equal(t, producers, gotProducers)

		countC, countP, err := r.Count(t.Context(), "A")
		require.NoError(t, err)
		assert.Equal(t, 2, countC)
		assert.Equal(t, 2, countP)

		all, err := r.CountConsumers(t.Context(), func(string) bool { return true })
		require.NoError(t, err)
		assert.Equal(t, 5, all)

		starts, err := r.ConsumerStarts(t.Context())
		require.NoError(t, err)
		assert.ElementsMatch(t, []jetstream.Consumer{
			{ID: 0, Topic: "A", Start: 9},
			{ID: 4, Topic: "A", Start: 9},
			{ID: 1, Topic: "B"},
			{ID: 3, Topic: "B"},
			{ID: 5, Topic: "B"},
		}, starts)
	}
}

// startServer starts a nats-server of which a connection outlives restarts, with its files in dir.
func startServer(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	require.NoError(t, err)
	ns.Start()
	t.Cleanup(ns.Shutdown)
	require.True(t, ns.ReadyForConnections(time.Minute))
	return ns
}

func TestList_GoesOnAtOnceAfterTheEngineWasRestarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ns := startServer(t, dir, server.RANDOM_PORT)
	nc, err := nats.Connect(ns.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	r, err := Open(t.Context(), nc, jetstream.File, 1)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	all := []jetstream.Consumer{register(t, r, jetstream.Consumer{Topic: "T"})}

	for i := range uint64(3) {
		port := ns.Addr().(*net.TCPAddr).Port
		ns.Shutdown()
		ns.WaitForShutdown()
		ns = startServer(t, dir, port)
		back := func() bool { return nc.Stats().Reconnects > i && nc.IsConnected() }
		require.Eventually(t, back, time.Minute, time.Millisecond)
		all = append(all, register(t, r, jetstream.Consumer{Topic: "T"}))

		// Less than the 10 seconds after which a watcher asks whether it is still served.
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		listed, err := r.ListConsumers(ctx, "T")
		cancel()

		require.NoError(t, err)
		assert.Equal(t, all, listed)
	}
}

func TestList_FailsWhenTheRegistryIsClosed(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	r, other := open(t, nc), open(t, nc)
	r.Close()
	register(t, other, jetstream.Consumer{Topic: "T"})

	_, err := r.ListConsumers(t.Context(), "T")

	var unavailable *jetstream.UnavailableError
	assert.ErrorAs(t, err, &unavailable)
	assert.EqualError(t, err, "cannot list the registry: the storage engine did not confirm it: the registry is closed")
}

func TestRegister_SaysWhenTheEngineDoesNotAnswer(t *testing.T) {
	t.Parallel()
	r := open(t, connect(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := r.RegisterProducer(ctx, "T")

	var unavailable *jetstream.UnavailableError
	assert.ErrorAs(t, err, &unavailable)
	assert.EqualError(t, err, "cannot register: the storage engine did not confirm it: context canceled")
}

func TestRemove_ConsumerThatIsStillBeingRegisteredIsGoneForGood(t *testing.T) {
	t.Parallel()
	r := open(t, connect(t))

	for id := range int64(500) {
		registered := make(chan error)
		go func() {
			_, _, err := r.RegisterConsumer(t.Context(), jetstream.Consumer{Topic: "T", Name: "c"})
			registered <- err
		}()
		var err error
		for err = r.RemoveConsumer(t.Context(), id); err != nil; { // as soon as it is stored
			err = r.RemoveConsumer(t.Context(), id)
		}
		require.NoError(t, <-registered)

		_, err = r.Consumer(t.Context(), id)
		var gone *jetstream.ConsumerNotFoundError
		require.ErrorAs(t, err, &gone, "consumer %d", id)
	}
}

func TestRegistry_ListsWhatItsWatcherDoesNotSend(t *testing.T) {
	t.Parallel()
	r := open(t, connect(t))
	stalled := &Registry{
		js: r.js, kv: r.kv, known: r.known, names: r.names, allocators: r.allocators,
		index: newIndex(nil), reading: semaphore.NewWeighted(1),
	}
	want := register(t, r, jetstream.Consumer{Topic: "T"})
	gone := register(t, r, jetstream.Consumer{Topic: "T"})
	require.NoError(t, r.RemoveConsumer(t.Context(), gone.ID))

	got, err := stalled.ListConsumers(t.Context(), "T")

	require.NoError(t, err)
	assert.Equal(t, []jetstream.Consumer{want}, got)
}
