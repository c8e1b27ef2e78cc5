package test

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/jetstream"
	"dq/jetstream/engine"
)

func TestTopic_RacingClientsNeverMakeAHiddenStream(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	for name, brokers := range map[string][]api{
		"memory": {startAPI(t, brokertest.Config(""))},
		"file":   {startAPI(t, brokertest.Config(t.TempDir()))},
		"shared": {first, second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var racing sync.WaitGroup
			for i := range 6 {
				a := brokers[i%len(brokers)].in(t)
				racing.Go(func() {
					for range 15 {
						a.put(path("X"), nil) // each of these may find the topic there, or not
						a.get(path("X"))
						a.del(path("X"))
					}
				})
			}
			racing.Wait()

			for _, a := range brokers {
				a = a.in(t)
				a.del(path("X"))
				a.post(path("X", "messages"), object{"data": "lost"}).refuses(http.StatusNotFound, "topic_not_found")
				a.createTopic("X")
				for sequence := range uint64(3) {
					assert.Equal(t, sequence+1, a.produce("X", object{"data": "new"})[0].Sequence)
				}
				assert.Len(t, a.get(path("X", "messages")).messages(), 3)
			}
		})
	}
}

func TestTopic_StartFinishesADeletion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before, kill := startToKill(t, dir)
	before.createTopic("T")
	byID, byName := before.register("T", object{}), before.register("T", object{"name": "n"})
	producer := before.classic().registerProducer("T")
	kill()
	deleteStream(t, dir, "T") // the first step of a deletion, which was not answered

	after, _ := startToKill(t, dir)
	after.get(path("T")).refuses(http.StatusNotFound, "topic_not_found")
	refused(t, after.classic().consume("T", byID.ID), "consumer_not_found",
		fmt.Sprintf("Consumer:%d does not exist any more: it was deleted, or Topic:T was", byID.ID))
	again := after.createTopic("T")

	assert.Zero(t, again.Consumers)
	assert.Zero(t, again.Producers)
	after.consumer("T", "n").post("fetch", nil).refuses(http.StatusNotFound, "consumer_not_found")
	refused(t, after.classic().produce("T", producer, "x"), "producer_not_found",
		fmt.Sprintf("Producer:%d does not exist any more: it was deleted, or Topic:T was", producer))
	assert.Greater(t, after.register("T", object{"name": "n"}).ID, byName.ID)
}

// deleteStream deletes the stream of a topic in dir, and nothing else.
func deleteStream(t *testing.T, dir, topic string) {
	t.Helper()
	server, err := engine.Start(engine.Options{Dir: dir, MaxMessageBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer server.Shutdown()
	nc, err := server.Connect()
	require.NoError(t, err)
	defer nc.Close()
	topics, err := jetstream.NewTopics(nc, jetstream.StoreOptions{Storage: jetstream.File, Replicas: 1, Alone: true})
	require.NoError(t, err)

	require.NoError(t, topics.Delete(t.Context(), topic))
}

func TestTopic_CreationFinishesADeletion(t *testing.T) {
	t.Parallel()
	cfg := natsConfig(t)
	first, second := startAPI(t, cfg), startAPI(t, sharing(cfg))
	first.createTopic("T")
	old := first.register("T", object{"name": "n", "start": "first"})
	const deletion = "$JS.API.STREAM.DELETE.dq_T" // as a broker that dies after the first step
	_, err := connectNATS(t, cfg).Request(deletion, nil, 10*time.Second)
	require.NoError(t, err)

	second.createTopic("T")
	second.fill("T", 1, 3)

	for _, a := range []api{first, second} {
		a.consumer("T", old.ID).post("fetch", nil).refuses(http.StatusNotFound, "consumer_not_found")
		assert.Zero(t, a.topic("T").Consumers)
	}
	assert.NotEqual(t, old.ID, first.register("T", object{"name": "n"}).ID)
}

func TestTopic_ConcurrentChangesAllTakeEffect(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	changes := object{
		"max_age": "1h0m0s", "max_bytes": 1_000_000, "max_messages": 10, "max_message_bytes": 1000, "dedup_window": "10s",
	}
	first.createTopic("T")

	var changing sync.WaitGroup
	for setting, value := range changes {
		for _, a := range []api{first, second} {
			changing.Go(func() { a.patch(path("T"), object{setting: value}).is(http.StatusOK) })
		}
	}
	changing.Wait()

	settings := second.topic("T").Settings
	for setting, value := range changes {
		assert.Equal(t, jsonOf(t, value), jsonOf(t, settings[setting]), setting)
	}
}
