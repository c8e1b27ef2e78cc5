package broker_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
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

// flipIn changes one bit of text in the first file of a stream's messages, as a worn disk does, and removes the index,
// so that the next start reads them.
func flipIn(t *testing.T, dir, stream, text string) {
	t.Helper()
	path := filepath.Join(streamDir(dir, stream), "msgs", "1.blk")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	at := bytes.LastIndex(data, []byte(text))
	require.GreaterOrEqual(t, at, 0)

	data[at] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))
	require.NoError(t, os.Remove(filepath.Join(streamDir(dir, stream), "msgs", "index.db")))
}

func TestDamage_DamagedTopicIsRefusedAndOthersAreServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	withBroker(t, dir, func(api *sdk.Client) {
		for _, name := range []string{"T", "Other"} {
			create(t, api.Topic(name))
			subscribe(t, api.Topic(name), sdk.ConsumerSpec{Name: "c", Start: sdk.AtFirst})
			for _, text := range []string{"one", "two", "three"} {
				_, err := api.Topic(name).Produce(t.Context(), sdk.Text(text))
				require.NoError(t, err)
			}
		}
	})
	flipIn(t, dir, jetstream.StreamName("T"), "two")

	b := brokertest.Start(t, brokertest.Config(dir))
	api := clientOf(t, b)
	topic := api.Topic("T")

	_, _, createErr := topic.Create(t.Context(), sdk.PartialSettings{})
	_, produceErr := topic.Produce(t.Context(), sdk.Text("four"))
	_, fetchErr := topic.Subscription("c").Fetch(t.Context(), sdk.Limits{Messages: 10})
	for operation, err := range map[string]error{
		"create": createErr, "produce": produceErr, "fetch": fetchErr, "delete": topic.Delete(t.Context()),
	} {
		require.ErrorIs(t, err, sdk.ErrTopicDamaged, operation)
		assert.ErrorContains(t, err, "damaged/dq_T/msgs/1.blk", operation)
		assert.ErrorContains(t, err, "message 2 is lost", operation)
		assert.ErrorContains(t, err, "DQ_ACCEPT_DAMAGE=T", operation)
	}
	_, texts := fetch(t, api.Topic("Other").Subscription("c"), 10)
	assert.Equal(t, []string{"one", "two", "three"}, texts)

	status, body := readiness(t, b.URL())
	assert.Equal(t, http.StatusOK, status, "the others are served")
	var ready sdk.Readiness
	require.NoError(t, json.Unmarshal([]byte(body), &ready))
	assert.Equal(t, 1, ready.DamagedTopics)
	require.Len(t, ready.Damaged, 1)
	assert.Equal(t, "T", ready.Damaged[0].Topic)
	file := ready.Damaged[0].Files[0]
	assert.Equal(t, [3]uint64{2, 2, 1}, [3]uint64{file.First, file.Last, file.Messages})
}

func TestDamage_AcceptedTopicServesWhatIsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	withBroker(t, dir, func(api *sdk.Client) {
		create(t, api.Topic("T"))
		fill(t, api.Topic("T"), 1001, 1003)
	})
	flipIn(t, dir, jetstream.StreamName("T"), "1003")
	withBroker(t, dir, func(*sdk.Client) {})
	cfg := brokertest.Config(dir)
	cfg.AcceptDamage = []string{"T"}

	api := clientOf(t, brokertest.Start(t, cfg))
	receipt, err := api.Topic("T").Produce(t.Context(), sdk.Text("1004"))
	_, texts := fetch(t, subscribe(t, api.Topic("T"), sdk.ConsumerSpec{Start: sdk.AtFirst}), 10)

	require.NoError(t, err)
	assert.EqualValues(t, 4, receipt.Sequence, "that of the lost message is not given out again")
	assert.Equal(t, []string{"1001", "1002", "1004"}, texts)
}

func TestDamage_RegistrationsAndPositionsRefuseTheStartAndSayHowToGoOn(t *testing.T) {
	t.Parallel()
	for stream, text := range map[string]string{
		"KV_dq_registry": `"topic":"T"`,
		"KV_dq_cursors":  "KV.dq_cursors",
		"dq-positions":   "dq-positions",
	} {
		t.Run(stream, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			withBroker(t, dir, func(api *sdk.Client) {
				create(t, api.Topic("T"))
				fill(t, api.Topic("T"), 1, 3)
				c := subscribe(t, api.Topic("T"), sdk.ConsumerSpec{Name: "c", Start: sdk.AtFirst})
				fetch(t, c, 1)
				_, err := c.Seek(t.Context(), sdk.AtFirst)
				require.NoError(t, err)
			})
			flipIn(t, dir, stream, text)

			_, err := broker.Start(t.Context(), brokertest.Config(dir), slog.New(slog.DiscardHandler))
			cfg := brokertest.Config(dir)
			cfg.AcceptDamage = []string{stream}
			accepted := clientOf(t, brokertest.Start(t, cfg))

			var damaged *engine.DamagedError
			require.ErrorAs(t, err, &damaged)
			assert.Contains(t, err.Error(), "DQ_ACCEPT_DAMAGE="+stream)
			assert.NotContains(t, strings.ToLower(err.Error()), "disk is full")
			c := subscribe(t, accepted.Topic("T"), sdk.ConsumerSpec{Start: sdk.AtFirst})
			_, texts := fetch(t, c, 10)
			assert.Equal(t, []string{"1", "2", "3"}, texts)
		})
	}
}
