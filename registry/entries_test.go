package registry

import (
	"encoding/json"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream"
)

// stored has entries as earlier versions of dq wrote them, and what they mean.
var stored = []struct {
	key, value string
	want       record
}{
	{
		key: "producer.0", value: `{"topic":"T"}`,
		want: record{Consumer: jetstream.Consumer{Topic: "T"}},
	},
	{
		key: "producer.1", value: `{"topic":"T","gone":true}`,
		want: record{Consumer: jetstream.Consumer{ID: 1, Topic: "T"}, Deleted: true},
	},
	{
		key: "consumer.0", value: `{"topic":"T"}`, // a version that did not know when the topic was created
		want: record{Consumer: jetstream.Consumer{Topic: "T"}},
	},
	{
		key: "consumer.1", value: `{"topic":"T","start":3,"born":1764350000000000001}`,
		want: record{Consumer: jetstream.Consumer{ID: 1, Topic: "T", Start: 3, TopicCreated: 1764350000000000001}},
	},
	{
		key: "consumer.2",
		value: `{"topic":"T","start":3,"born":1764350000000000001,"name":"n","key":"k","lease":30000000000,` +
			`"max_in_flight":1000,"max_deliveries":5,"dead_letter_topic":"D"}`,
		want: record{Consumer: jetstream.Consumer{
			ID: 2, Topic: "T", Start: 3, TopicCreated: 1764350000000000001, Name: "n", Key: "k",
			Lease: 30 * time.Second, MaxInFlight: 1000, MaxDeliveries: 5, DeadLetterTopic: "D",
		}},
	},
	{
		key: "consumer.3", value: `{"topic":"\u003cT\u003e","start":1,"gone":true}`,
		want: record{Consumer: jetstream.Consumer{ID: 3, Topic: "<T>", Start: 1}, Deleted: true},
	},
}

func TestStored_JSONIsThatOfEarlierVersions(t *testing.T) {
	t.Parallel()
	for _, entry := range stored {
		id, ok := parseKey(entry.key)
		require.True(t, ok)

		rec, err := decodeRecord(id, []byte(entry.value))
		require.NoError(t, err)
		value, err := json.Marshal(entry.want)
		require.NoError(t, err)

		assert.Equal(t, entry.want, rec)
		assert.Equal(t, entry.value, string(value))
		assert.Equal(t, entry.key, id.key())
	}
}

func TestStored_BucketOfAnEarlierVersionOpens(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	js, err := natsjs.New(nc)
	require.NoError(t, err)
	config := natsjs.KeyValueConfig{Bucket: "dq_registry", Storage: natsjs.MemoryStorage}
	kv, err := js.CreateKeyValue(t.Context(), config)
	require.NoError(t, err)
	for _, entry := range stored {
		_, err := kv.PutString(t.Context(), entry.key, entry.value)
		require.NoError(t, err)
	}
	_, err = kv.PutString(t.Context(), "name.AG.DO", "2") // base32 of T and n
	require.NoError(t, err)

	r := open(t, nc)

	named, err := r.ConsumerByName(t.Context(), "T", "n")
	require.NoError(t, err)
	assert.Equal(t, stored[4].want.Consumer, named)
	list, err := r.ListConsumers(t.Context(), "T")
	require.NoError(t, err)
	want := []jetstream.Consumer{stored[2].want.Consumer, stored[3].want.Consumer, stored[4].want.Consumer}
	assert.Equal(t, want, list)
	producers, err := r.ListProducers(t.Context(), "T")
	require.NoError(t, err)
	assert.Equal(t, []Producer{{ID: 0, Topic: "T"}}, producers)
	_, err = r.Consumer(t.Context(), 3)
	assert.EqualError(t, err, "Consumer:3 does not exist any more: it was deleted, or Topic:<T> was")
	assert.EqualValues(t, 4, register(t, r, jetstream.Consumer{Topic: "T"}).ID)
}

func TestEntry_ChangeOfAnOlderRevisionIsRefused(t *testing.T) {
	t.Parallel()
	nc := connect(t)
	r := open(t, nc)
	c := register(t, r, jetstream.Consumer{Topic: "T"})
	key := entryID{consumer, c.ID}.key()
	before, err := r.kv.Get(t.Context(), key)
	require.NoError(t, err)
	_, err = r.kv.Put(t.Context(), key, before.Value()) // by another process
	require.NoError(t, err)

	_, err = r.kv.Update(t.Context(), key, []byte(`{"topic":"lost"}`), before.Revision())
	assert.True(t, conflict(err), "a change of what was read before is refused: %v", err)
	_, err = r.kv.Create(t.Context(), key, []byte(`{"topic":"lost"}`))
	assert.True(t, conflict(err), "an id is given out once: %v", err)
	require.NoError(t, r.RemoveConsumer(t.Context(), c.ID))

	after, err := r.kv.Get(t.Context(), key)
	require.NoError(t, err)
	assert.JSONEq(t, `{"topic":"T","gone":true}`, string(after.Value()))
}
