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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
	"dq/jetstream"
	"dq/jetstream/engine"
	"dq/sdk"
)

// run runs a broker on dir for as long as do takes.
func run(t *testing.T, dir string, do func(api *sdk.Client)) {
	t.Helper()
	b, err := broker.Start(t.Context(), brokertest.Config(dir), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Stop(context.Background())) }()
	api, err := sdk.New(b.URL())
	require.NoError(t, err)
	defer api.Close()
	do(api)
}

func streamDir(dir, stream string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", stream)
}

// crash makes the files of a stream those of a process that did not stop: what
// the engine only writes then goes. It returns its newest block of messages.
func crash(t *testing.T, dir, stream string) (block string) {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(streamDir(dir, stream), "msgs", "*.blk"))
	require.NoError(t, err)
	require.NotEmpty(t, blocks)
	require.NoError(t, os.RemoveAll(filepath.Join(streamDir(dir, stream), "msgs", "index.db")))
	return slices.MaxFunc(blocks, func(a, b string) int { return len(a) - len(b) })
}

func create(t *testing.T, topic *sdk.Topic) {
	t.Helper()
	_, _, err := topic.Create(t.Context(), sdk.PartialSettings{})
	require.NoError(t, err)
}

func fill(t *testing.T, topic *sdk.Topic, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
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

func TestATornLastWriteTakesItsMessageAndNoneThatComesLater(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(t *testing.T, block string)
		last   int // message that is left
	}{
		"cut off": {func(t *testing.T, block string) {
			info, err := os.Stat(block)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(block, info.Size()-3))
		}, 9},
		"half of another behind it": {func(t *testing.T, block string) {
			data, err := os.ReadFile(block)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(block, append(data, data[:20]...), 0o600))
		}, 10},
		"zeros behind it": {func(t *testing.T, block string) {
			info, err := os.Stat(block)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(block, info.Size()+4096))
		}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			consumers := []sdk.ConsumerSpec{
				{Name: "all", Start: sdk.AtFirst}, {Name: "some", Start: sdk.AtFirst}, {Name: "none", Start: sdk.AtFirst},
				{Name: "lease", Start: sdk.AtFirst, Mode: sdk.ModeLease}, {Name: "late", Start: sdk.AtNew},
			}
			var leased []sdk.Record
			run(t, dir, func(api *sdk.Client) {
				topic := api.Topic("T")
				create(t, topic)
				fill(t, topic, 1, 10)
				for _, spec := range consumers {
					subscribe(t, topic, spec)
				}
				fetch(t, topic.Subscription("all"), 100)
				fetch(t, topic.Subscription("some"), 3)
				leased, _ = fetch(t, topic.Subscription("lease"), 100)
				require.Len(t, leased, 10)
			})
			test.damage(t, crash(t, dir, jetstream.StreamName("T")))
			for range 2 { // what was mended stays so
				run(t, dir, func(*sdk.Client) {})
			}
			run(t, dir, func(api *sdk.Client) {
				topic := api.Topic("T")
				info, err := topic.Describe(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, test.last, info.LastSequence)
				fill(t, topic, 11, 12)
				for name, first := range map[string]int{"all": 11, "some": 4, "none": 1, "late": 11} {
					var want []string
					for i := first; i <= 12; i++ {
						if i <= test.last || i > 10 {
							want = append(want, strconv.Itoa(i))
						}
					}
					_, got := fetch(t, topic.Subscription(name), 100)
					assert.Equal(t, want, got, name)
				}
				lease := topic.Subscription("lease")
				_, got := fetch(t, lease, 100)
				assert.Equal(t, []string{"11", "12"}, got, "the others have leases")
				if test.last < 10 {
					require.Error(t, lease.Ack(t.Context(), leased[9].Token), "its sequence is that of another message now")
				}
			})
		})
	}
}

func TestATornWriteOfPositionsOrIdsKeepsNobodyFromGoingOn(t *testing.T) {
	t.Parallel()
	for _, stream := range []string{"dq-positions", "KV_dq_cursors", "KV_dq_registry"} {
		t.Run(stream, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			run(t, dir, func(api *sdk.Client) {
				topic := api.Topic("T")
				create(t, topic)
				fill(t, topic, 1, 10)
				c := subscribe(t, topic, sdk.ConsumerSpec{Name: "c", Start: sdk.AtFirst})
				_, err := c.Seek(t.Context(), sdk.AtSequence(2))
				require.NoError(t, err)
				for range 4 {
					fetch(t, c, 1)
				}
				_, err = api.RegisterProducer(t.Context(), "T") // what is torn of the ids
				require.NoError(t, err)
			})
			block := crash(t, dir, stream)
			info, err := os.Stat(block)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(block, info.Size()-3))
			run(t, dir, func(api *sdk.Client) {
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

func TestAStreamThatCannotBeUsedStopsTheStart(t *testing.T) {
	t.Parallel()
	made := func(t *testing.T) (dir, stream string) {
		dir = t.TempDir()
		run(t, dir, func(api *sdk.Client) {
			topic := api.Topic("T")
			create(t, topic)
			fill(t, topic, 1, 3)
		})
		return dir, streamDir(dir, jetstream.StreamName("T"))
	}
	t.Run("settings", func(t *testing.T) {
		t.Parallel()
		dir, stream := made(t)
		require.NoError(t, os.WriteFile(filepath.Join(stream, "meta.inf"), []byte(`{"name":`), 0o600))
		_, err := broker.Start(t.Context(), brokertest.Config(dir), slog.New(slog.DiscardHandler))
		var lost *engine.LostStreamsError
		require.ErrorAs(t, err, &lost)
		assert.Equal(t, []string{stream}, lost.Dirs)
		assert.Contains(t, err.Error(), "move it away")
		require.NoError(t, os.RemoveAll(stream))
		run(t, dir, func(api *sdk.Client) {
			topics, err := api.Topics(t.Context())
			require.NoError(t, err)
			assert.Empty(t, topics)
		})
	})
	t.Run("a checksum that was not written any more", func(t *testing.T) {
		t.Parallel()
		dir, stream := made(t)
		require.NoError(t, os.WriteFile(filepath.Join(stream, "meta.sum"), []byte(strings.Repeat("0", 16)), 0o600))
		run(t, dir, func(api *sdk.Client) {
			c := subscribe(t, api.Topic("T"), sdk.ConsumerSpec{Start: sdk.AtFirst})
			_, texts := fetch(t, c, 10)
			assert.Equal(t, []string{"1", "2", "3"}, texts)
		})
	})
	t.Run("a topic that was not made to the end", func(t *testing.T) {
		t.Parallel()
		dir, stream := made(t)
		require.NoError(t, os.Mkdir(stream+"2", 0o750))
		run(t, dir, func(api *sdk.Client) {
			create(t, api.Topic("T2"))
			fill(t, api.Topic("T2"), 1, 1)
		})
	})
}

func TestWhatIsLeftOfADeletedTopicIsNotOfTheNextOne(t *testing.T) {
	t.Parallel()
	again := func(t *testing.T, api *sdk.Client) {
		topic := api.Topic("T")
		create(t, topic)
		fill(t, topic, 4, 4)
		_, texts := fetch(t, subscribe(t, topic, sdk.ConsumerSpec{Start: sdk.AtFirst}), 10)
		assert.Equal(t, []string{"4"}, texts)
	}
	t.Run("as an earlier one is still being removed", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		run(t, dir, func(api *sdk.Client) {
			topic := api.Topic("T")
			create(t, topic)
			fill(t, topic, 1, 3)
			require.NoError(t, os.MkdirAll(filepath.Join(streamDir(dir, "."+jetstream.StreamName("T")), "msgs"), 0o750))
			require.NoError(t, topic.Delete(t.Context()))
			again(t, api)
		})
	})
	t.Run("as the process was killed meanwhile", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		run(t, dir, func(api *sdk.Client) {
			create(t, api.Topic("T"))
			fill(t, api.Topic("T"), 1, 3)
		})
		require.NoError(t, os.Remove(filepath.Join(streamDir(dir, jetstream.StreamName("T")), "meta.inf")))
		run(t, dir, func(api *sdk.Client) { again(t, api) })
	})
}
