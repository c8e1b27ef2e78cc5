package bench_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/bench"
	"dq/cmd/broker"
	"dq/sdk"
)

// options are those of a run that is as short as it can be.
func options(batch int) bench.Options {
	return bench.Options{Connections: 4, Size: 16, Batch: batch, Topics: 2, Consumers: 2, Duration: 60 * time.Millisecond, Rounds: 2}
}

func startSelf(t testing.TB, persist bool) *bench.Self {
	t.Helper()
	self, err := bench.StartSelf(t.Context(), persist, broker.SyncInterval, 128)
	require.NoError(t, err)
	t.Cleanup(self.Stop)
	return self
}

func TestWhatIsReportedAsProducedIsStored(t *testing.T) {
	for _, batch := range []int{1, 10} {
		self := startSelf(t, false)
		o := options(batch)
		works, stop, err := self.Produce(o)
		require.NoError(t, err)
		defer stop()
		results, err := bench.Measure(t.Context(), o, works...)
		require.NoError(t, err)
		api, err := sdk.New(self.URL())
		require.NoError(t, err)
		stored := uint64(0)
		for topic, err := range api.ListTopics(t.Context(), "bench-") {
			require.NoError(t, err)
			stored += topic.Messages
		}
		assert.EqualValues(t, stored, results[0].Messages)
		assert.Positive(t, stored)
		assert.Equal(t, stored/uint64(batch), uint64(results[0].Latency.TotalCount()))
		for _, r := range results {
			assert.Positive(t, r.Messages, r.Name)
		}
		var table, chart strings.Builder
		report := bench.NewReport(results)
		require.NoError(t, report.WriteTable(&table))
		require.NoError(t, report.WriteChart(&chart, "title"))
		assert.Contains(t, table.String(), results[1].Name)
		assert.Contains(t, chart.String(), "<svg")
	}
}

func TestConsumeEndsWithTheMessages(t *testing.T) {
	for _, batch := range []int{1, 10} {
		self := startSelf(t, false)
		o := options(batch)
		o.Duration = time.Minute // it ends before that
		o.Rounds = 1
		works, stop, err := self.Consume(t.Context(), 100, o)
		require.NoError(t, err)
		defer stop()
		results, err := bench.Measure(t.Context(), o, works[0])
		require.NoError(t, err)
		// Who finds nothing left ends all, so the other consumer may not be through.
		assert.GreaterOrEqual(t, results[0].Messages, int64(100))
	}
}

func TestGrowthCountsWhatItMakes(t *testing.T) {
	self := startSelf(t, true)
	var rows []bench.GrowthRow
	require.NoError(t, self.Growth(context.Background(), []int{2, 4}, func(r bench.GrowthRow) { rows = append(rows, r) }))
	require.Len(t, rows, 6)
	for _, r := range rows {
		assert.Positive(t, r.PerSecond, r.What)
		assert.Positive(t, r.ProduceMS, r.What)
	}
}

// BenchmarkDQ makes the calls that matter, and reports how fast dq is next to
// what it is compared to in the same run.
func BenchmarkDQ(b *testing.B) {
	for name, run := range map[string]struct {
		o       bench.Options
		consume bool
	}{
		"produce/connections=1":  {bench.Options{Connections: 1, Batch: 1}, false},
		"produce/connections=64": {bench.Options{Connections: 64, Batch: 1}, false},
		"produce/batch=100":      {bench.Options{Connections: 8, Batch: 100}, false},
		"consume/consumers=64":   {bench.Options{Connections: 64, Batch: 1, Consumers: 64}, true},
		"consume/consumers=1":    {bench.Options{Connections: 64, Batch: 1, Consumers: 1}, true},
		"fetch/batch=100":        {bench.Options{Connections: 8, Batch: 100, Consumers: 8}, true},
	} {
		b.Run(name, func(b *testing.B) {
			o := run.o
			o.Size, o.Topics, o.Rounds, o.Duration = 128, 1, 2, time.Second
			o.Consumers = max(o.Consumers, 1)
			self := startSelf(b, true)
			var works []bench.Work
			var stop func()
			var err error
			if run.consume {
				works, stop, err = self.Consume(b.Context(), 50_000, o)
			} else {
				works, stop, err = self.Produce(o)
			}
			require.NoError(b, err)
			defer stop()
			for b.Loop() {
				results, err := bench.Measure(b.Context(), o, works...)
				require.NoError(b, err)
				report := bench.NewReport(results)
				b.ReportMetric(report.Rows[0].PerSec, "msg/s")
				for _, row := range report.Rows[1:] {
					b.ReportMetric(row.Ratio, "of-"+strings.ReplaceAll(strings.ReplaceAll(row.Work, ", ", "-"), " ", "-"))
				}
			}
		})
	}
}
