package broker_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
	"dq/jetstream"
	"dq/sdk"
)

// withBroker runs a broker on dir for as long as do takes.
func withBroker(t *testing.T, dir string, do func(api *sdk.Client)) {
	t.Helper()
	b, err := broker.Start(t.Context(), brokertest.Config(dir), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Stop(context.Background())) }()

	api, err := sdk.New(b.URL())
	require.NoError(t, err)
	defer api.Close()
	do(api)
}

// streamDir returns the folder in which the engine keeps a stream.
func streamDir(dir, stream string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", stream)
}

// crash makes a directory look as after a power cut: the engine did not write the index of a stream, so that the next
// start reads the messages themselves. It returns the newest file of messages.
func crash(t *testing.T, dir, stream string) (block string) {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(streamDir(dir, stream), "msgs", "*.blk"))
	require.NoError(t, err)
	require.NotEmpty(t, blocks)

	require.NoError(t, os.RemoveAll(filepath.Join(streamDir(dir, stream), "msgs", "index.db")))
	running := []byte(`{"boot":"an earlier start of the system","sync_within_ns":10000000000}`)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "running"), running, 0o600))
	return slices.MaxFunc(blocks, func(a, b string) int { return len(a) - len(b) })
}

// resize makes a file longer, with zeros, or shorter.
func resize(t *testing.T, file string, bytes int64) {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(file, info.Size()+bytes))
}

func create(t *testing.T, topic *sdk.Topic) {
	t.Helper()
	_, _, err := topic.Create(t.Context(), sdk.PartialSettings{})
	require.NoError(t, err)
}

// fill produces the numbers from first to last as messages.
func fill(t *testing.T, topic *sdk.Topic, first, last int) {
	t.Helper()
	for i := first; i <= last; i++ {
		_, err := topic.Produce(t.Context(), sdk.Text(strconv.Itoa(i)))
		require.NoError(t, err)
	}
}

func fetch(t *testing.T, consumer *sdk.Subscription, limit int) (records []sdk.Record, texts []string) {
	t.Helper()
	records, err := consumer.Fetch(t.Context(), sdk.Limits{Messages: limit})
	require.NoError(t, err)
	for _, r := range records {
		texts = append(texts, string(r.Data))
	}
	return records, texts
}

func subscribe(t *testing.T, topic *sdk.Topic, spec sdk.ConsumerSpec) *sdk.Subscription {
	t.Helper()
	s, err := topic.Subscribe(t.Context(), spec)
	require.NoError(t, err)
	return s
}

func TestRecovery_TornLastWriteLosesThatMessageOnly(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(t *testing.T, block string)
		last   int // the last message that is left
	}{
		"cut off": {
			damage: func(t *testing.T, block string) { resize(t, block, -3) },
			last:   9,
		},
		"followed by half of another": {
			damage: func(t *testing.T, block string) {
				data, err := os.ReadFile(block)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(block, append(data, data[:20]...), 0o600))
			},
			last: 10,
		},
		"followed by zeros": {
			damage: func(t *testing.T, block string) { resize(t, block, 4096) },
			last:   10,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var leased []sdk.Record
			withBroker(t, dir, func(api *sdk.Client) { leased = consumeTen(t, api.Topic("T")) })

			test.damage(t, crash(t, dir, jetstream.StreamName("T")))
			for range 2 { // the repair lasts
				withBroker(t, dir, func(*sdk.Client) {})
			}

			withBroker(t, dir, func(api *sdk.Client) { checkTornTopic(t, api.Topic("T"), test.last, leased) })
		})
	}
}

// consumeTen creates a topic of ten messages and consumers that have read different parts of it. It returns what the
// consumer "lease" holds.
func consumeTen(t *testing.T, topic *sdk.Topic) (leased []sdk.Record) {
	t.Helper()
	create(t, topic)
	fill(t, topic, 1, 10)
	for _, spec := range []sdk.ConsumerSpec{
		{Name: "all", Start: sdk.AtFirst},
		{Name: "some", Start: sdk.AtFirst},
		{Name: "none", Start: sdk.AtFirst},
		{Name: "lease", Start: sdk.AtFirst, Mode: sdk.ModeLease},
		{Name: "late", Start: sdk.AtNew},
	} {
		subscribe(t, topic, spec)
	}

	fetch(t, topic.Subscription("all"), 100)
	fetch(t, topic.Subscription("some"), 3)
	leased, _ = fetch(t, topic.Subscription("lease"), 100)
	require.Len(t, leased, 10)
	return leased
}

// checkTornTopic checks that messages 1 to last of ten are left, and that the consumers of consumeTen get every
// message that is produced after the damage.
func checkTornTopic(t *testing.T, topic *sdk.Topic, last int, leased []sdk.Record) {
	t.Helper()
	info, err := topic.Describe(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, last, info.LastSequence)

	fill(t, topic, 11, 12)
	for name, first := range map[string]int{"all": 11, "some": 4, "none": 1, "late": 11} {
		var want []string
		for i := first; i <= 12; i++ {
			if i <= last || i > 10 {
				want = append(want, strconv.Itoa(i))
			}
		}
		_, got := fetch(t, topic.Subscription(name), 100)
		assert.Equal(t, want, got, name)
	}

	lease := topic.Subscription("lease")
	_, got := fetch(t, lease, 100)
	assert.Equal(t, []string{"11", "12"}, got, "the others have leases")
	if last < 10 {
		require.Error(t, lease.Ack(t.Context(), leased[9].Token), "its sequence is that of another message now")
	}
}

func TestRecovery_TornWriteOfConsumerStateOrIDsKeepsConsumersGoing(t *testing.T) {
	t.Parallel()
	for _, stream := range []string{"dq-positions", "KV_dq_cursors", "KV_dq_registry"} {
		t.Run(stream, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			withBroker(t, dir, func(api *sdk.Client) {
				topic := api.Topic("T")
				create(t, topic)
				fill(t, topic, 1, 10)
				c := subscribe(t, topic, sdk.ConsumerSpec{Name: "c", Start: sdk.AtFirst})
				_, err := c.Seek(t.Context(), sdk.AtSequence(2))
				require.NoError(t, err)
				for range 4 {
					fetch(t, c, 1)
				}
				_, err = api.RegisterProducer(t.Context(), "T") // the last write of the registry
				require.NoError(t, err)
			})

			resize(t, crash(t, dir, stream), -3)

			withBroker(t, dir, func(api *sdk.Client) {
				topic := api.Topic("T")
				fill(t, topic, 11, 11)
				_, texts := fetch(t, topic.Subscription("c"), 100)
				require.NotEmpty(t, texts)
				first, err := strconv.Atoi(texts[0])
				require.NoError(t, err)
				assert.LessOrEqual(t, first, 6, "nothing is left out")
				for i, text := range texts {
					assert.Equal(t, strconv.Itoa(first+i), text)
				}
				assert.Equal(t, "11", texts[len(texts)-1])
				_, err = api.RegisterProducer(t.Context(), "T")
				require.NoError(t, err)
			})
		})
	}
}

// fillThree stores a topic "T" of three messages in a new directory. It returns the folder of its stream, too.
func fillThree(t *testing.T) (dir, stream string) {
	t.Helper()
	dir = t.TempDir()
	withBroker(t, dir, func(api *sdk.Client) {
		topic := api.Topic("T")
		create(t, topic)
		fill(t, topic, 1, 3)
	})
	return dir, streamDir(dir, jetstream.StreamName("T"))
}

func TestRecovery_OutdatedChecksumOfSettingsIsReplaced(t *testing.T) {
	t.Parallel()
	dir, stream := fillThree(t)

	sum := filepath.Join(stream, "meta.sum")
	require.NoError(t, os.WriteFile(sum, []byte(strings.Repeat("0", 16)), 0o600))
	require.NoError(t, os.Chtimes(sum, time.Time{}, time.Unix(1, 0))) // the settings were written after it

	withBroker(t, dir, func(api *sdk.Client) {
		c := subscribe(t, api.Topic("T"), sdk.ConsumerSpec{Start: sdk.AtFirst})
		_, texts := fetch(t, c, 10)
		assert.Equal(t, []string{"1", "2", "3"}, texts)
	})
}

func TestRecovery_TopicThatWasNotFullyCreatedCanBeCreated(t *testing.T) {
	t.Parallel()
	dir, stream := fillThree(t)

	require.NoError(t, os.Mkdir(stream+"2", 0o750))

	withBroker(t, dir, func(api *sdk.Client) {
		create(t, api.Topic("T2"))
		fill(t, api.Topic("T2"), 1, 1)
	})
}

// checkNewTopic creates topic "T" again and checks that it has none of the messages of the deleted one.
func checkNewTopic(t *testing.T, api *sdk.Client) {
	t.Helper()
	topic := api.Topic("T")
	create(t, topic)
	fill(t, topic, 4, 4)
	_, texts := fetch(t, subscribe(t, topic, sdk.ConsumerSpec{Start: sdk.AtFirst}), 10)
	assert.Equal(t, []string{"4"}, texts)
}

func TestRecovery_TopicIsCreatedAgainWhileAnEarlierOneIsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	withBroker(t, dir, func(api *sdk.Client) {
		topic := api.Topic("T")
		create(t, topic)
		fill(t, topic, 1, 3)
		removing := filepath.Join(streamDir(dir, "."+jetstream.StreamName("T")), "msgs")
		require.NoError(t, os.MkdirAll(removing, 0o750))

		require.NoError(t, topic.Delete(t.Context()))

		checkNewTopic(t, api)
	})
}

func TestRecovery_TopicIsCreatedAgainAfterAKillDuringItsDeletion(t *testing.T) {
	t.Parallel()
	dir, stream := fillThree(t)

	require.NoError(t, os.Remove(filepath.Join(stream, "meta.inf")))

	withBroker(t, dir, func(api *sdk.Client) { checkNewTopic(t, api) })
}
