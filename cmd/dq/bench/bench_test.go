package bench_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/bench"
	"dq/cmd/dq/broker"
	"dq/cmd/dq/cli"
	"dq/sdk"
)

// options returns the options of a very short run.
func options(batch int) bench.Options {
	return bench.Options{
		Connections: 4, Size: 16, Batch: batch, Topics: 2, Consumers: 2, Duration: 60 * time.Millisecond, Rounds: 2,
	}
}

func startSelf(t testing.TB, persist bool, o bench.Options) *bench.Self {
	t.Helper()
	self, err := bench.StartSelf(t.Context(), persist, broker.SyncInterval, o)
	require.NoError(t, err)
	t.Cleanup(self.Stop)
	return self
}

func TestProduce_ReportedMessagesAreStored(t *testing.T) {
	for _, batch := range []int{1, 10} {
		o := options(batch)
		self := startSelf(t, false, o)
		works, stop, err := self.Produce(o)
		require.NoError(t, err)
		defer stop()

		results, err := bench.Measure(t.Context(), o, works...)

		require.NoError(t, err)
		api, err := sdk.New(self.URL())
		require.NoError(t, err)
		stored := storedIn(t, api)
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

// storedIn returns how many messages the topics of a run hold.
func storedIn(t *testing.T, api *sdk.Client) (stored uint64) {
	t.Helper()
	for topic, err := range api.ListTopics(t.Context(), "bench-") {
		require.NoError(t, err)
		stored += topic.Messages
	}
	return stored
}

// lag returns how many messages the consumers have not consumed.
func lag(t *testing.T, api *sdk.Client, consumers int) (lag int64) {
	t.Helper()
	for id := range int64(consumers) {
		size, err := api.Size(t.Context(), "bench-"+strconv.FormatInt(id%2, 10), id)
		require.NoError(t, err)
		lag += size
	}
	return lag
}

func TestProduce_CountIsProducedExactly(t *testing.T) {
	o := options(10)
	o.Count = 95 // rounded up to whole batches, which two rounds share
	self := startSelf(t, false, o)
	works, stop, err := self.Produce(o)
	require.NoError(t, err)
	defer stop()

	results, err := bench.Measure(t.Context(), o, works[0])

	require.NoError(t, err)
	assert.EqualValues(t, 100, results[0].Messages)
	api, err := sdk.New(self.URL())
	require.NoError(t, err)
	assert.EqualValues(t, 100, storedIn(t, api))
}

func TestConsume_ReportedMessagesAreConsumed(t *testing.T) {
	for _, batch := range []int{1, 10} {
		o := options(batch)
		o.Duration = time.Minute // it ends before that
		self := startSelf(t, false, o)
		works, stop, err := self.Consume(t.Context(), 100, o)
		require.NoError(t, err)
		defer stop()

		results, err := bench.Measure(t.Context(), o, works[0], works[2]) // the empty handler has no end

		require.NoError(t, err)
		api, err := sdk.New(self.URL())
		require.NoError(t, err)
		// The first consumer that finds no message ends the round, so others may have some left.
		assert.EqualValues(t, 2*100-lag(t, api, 2), results[0].Messages)
		assert.GreaterOrEqual(t, results[0].Messages, int64(100))
		assert.GreaterOrEqual(t, results[1].Messages, int64(100), "JetStream itself")
	}
}

func TestLease_ReportedMessagesAreAcknowledged(t *testing.T) {
	for _, batch := range []int{1, 10} {
		o := options(batch)
		o.Consumers, o.Topics, o.InFlight, o.Duration = 1, 1, 30, time.Minute // it ends before that
		self := startSelf(t, false, o)
		works, stop, err := self.Lease(t.Context(), 1000, o)
		require.NoError(t, err)
		defer stop()

		results, err := bench.Measure(t.Context(), o, works[0], works[2]) // the empty handler has no end

		require.NoError(t, err)
		api, err := sdk.New(self.URL())
		require.NoError(t, err)
		queue, err := api.Topic("bench-0").Subscription("0").Describe(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 1000-30, results[0].Messages)
		assert.EqualValues(t, 30, queue.InFlight)
		assert.EqualValues(t, 1000-30, results[1].Messages, "JetStream itself")
	}
}

func TestProduceAndConsume_CountWhatGoesInAndOut(t *testing.T) {
	for _, batch := range []int{1, 10} {
		o := options(batch)
		o.Duration = 500 * time.Millisecond // long enough for a consumer to get something on a busy machine
		self := startSelf(t, false, o)
		works, stop, err := bench.ProduceAndConsume(self.URL(), "bench", o)
		require.NoError(t, err)
		defer stop()

		results, err := bench.MeasureTogether(t.Context(), o, works...)

		require.NoError(t, err)
		api, err := sdk.New(self.URL())
		require.NoError(t, err)
		in, out := results[0].Messages, results[1].Messages
		assert.EqualValues(t, storedIn(t, api), in)
		assert.Equal(t, in-lag(t, api, 2), out) // a consumer for each of the topics
		assert.Positive(t, out)
	}
}

func TestLatency_CountsMessagesThatArrived(t *testing.T) {
	o := options(1)
	o.Rate = 200
	self := startSelf(t, false, o)
	works, stop, err := self.Latency(t.Context(), o)
	require.NoError(t, err)
	defer stop()

	results, err := bench.Measure(t.Context(), o, works...)

	require.NoError(t, err)
	api, err := sdk.New(self.URL())
	require.NoError(t, err)
	assert.EqualValues(t, storedIn(t, api), results[0].Messages)
	assert.Equal(t, results[0].Messages, results[0].Latency.TotalCount())
	// The messages due in 60 ms at that rate, at most.
	assert.LessOrEqual(t, results[0].Messages, int64(12))
}

func TestLatency_CountsFromWhenTheCallWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := bench.Options{Connections: 1, Batch: 1, Duration: time.Hour, Rounds: 1, Rate: 1000, Count: 10}
		stalls := true
		stallsOnce := func(context.Context, int) (int, error) {
			if stalls {
				time.Sleep(100 * time.Millisecond)
			}
			stalls = false
			return 1, nil
		}

		results, err := bench.Measure(t.Context(), o, bench.Work{Name: "stalls once", Do: stallsOnce})

		require.NoError(t, err)
		assert.EqualValues(t, 10, results[0].Latency.TotalCount())
		assert.GreaterOrEqual(t, results[0].Latency.Min(), int64(80_000), "microseconds of the calls after the stall")
	})
}

func TestMeasureTogether_FailureIsNotTheEndOfTheWork(t *testing.T) {
	o := options(1)
	self := startSelf(t, false, o)
	works, stop, err := bench.ProduceAndConsume(self.URL(), "bench", o)
	require.NoError(t, err)
	stop()
	self.Stop()

	_, err = bench.MeasureTogether(t.Context(), o, works...)

	assert.Error(t, err)
}

func TestCommands_EachWritesItsReport(t *testing.T) {
	for _, args := range []string{
		"produce --self", "consume --self --messages 100", "both --self --batch 10", "latency --self --rate 100",
		"lease --self --messages 1000 --in-flight 10",
		"growth --counts 2 --behind 1000",
	} {
		t.Run(args, func(t *testing.T) {
			dir := t.TempDir()
			chart, profile := filepath.Join(dir, "chart.svg"), filepath.Join(dir, "cpu")
			line := append([]string{"bench"}, strings.Fields(args)...)
			line = append(line, "--duration", "60ms", "--json")
			if !strings.HasPrefix(args, "growth") {
				line = append(line, "--connections", "4", "--rounds", "1", "--chart", chart, "--cpuprofile", profile)
			}
			var out strings.Builder
			root := cli.Root()
			root.SetArgs(line)
			root.SetOut(&out)
			root.SetErr(t.Output())

			require.NoError(t, root.ExecuteContext(t.Context()))

			var report struct{ Rows, Growth []map[string]any }
			require.NoError(t, json.Unmarshal([]byte(out.String()), &report))
			assert.NotEmpty(t, append(report.Rows, report.Growth...))
			if !strings.HasPrefix(args, "growth") {
				assert.FileExists(t, chart)
				assert.FileExists(t, profile)
			}
		})
	}
}

func TestGrowth_HasARowForEachCountOfEachKind(t *testing.T) {
	self := startSelf(t, true, options(1))
	measured := 0

	rows, err := self.Growth(t.Context(), []int{2, 4}, func() { measured++ })

	require.NoError(t, err)
	require.Len(t, rows, 6)
	assert.Equal(t, 6, measured)
	for _, r := range rows {
		assert.Positive(t, r.PerSecond, r.What)
		assert.Positive(t, r.ProduceMS, r.What)
	}
}

// BenchmarkDQ makes the calls that matter most, and reports the rate of dq and its ratio
// to the baselines of the same run.
func BenchmarkDQ(b *testing.B) {
	const messages = 50_000
	produce := func(_ context.Context, self *bench.Self, o bench.Options) ([]bench.Work, func(), error) {
		return self.Produce(o)
	}
	consume := func(ctx context.Context, self *bench.Self, o bench.Options) ([]bench.Work, func(), error) {
		return self.Consume(ctx, messages, o)
	}
	lease := func(ctx context.Context, self *bench.Self, o bench.Options) ([]bench.Work, func(), error) {
		return self.Lease(ctx, messages, o)
	}

	for name, run := range map[string]struct {
		works func(context.Context, *bench.Self, bench.Options) ([]bench.Work, func(), error)
		o     bench.Options
	}{
		"produce/connections=1":  {produce, bench.Options{Connections: 1, Batch: 1}},
		"produce/connections=64": {produce, bench.Options{Connections: 64, Batch: 1}},
		"produce/batch=100":      {produce, bench.Options{Connections: 8, Batch: 100}},
		"consume/consumers=64":   {consume, bench.Options{Connections: 64, Batch: 1, Consumers: 64}},
		"consume/consumers=1":    {consume, bench.Options{Connections: 64, Batch: 1, Consumers: 1}},
		"fetch/batch=100":        {consume, bench.Options{Connections: 8, Batch: 100, Consumers: 8}},
		"lease/workers=8":        {lease, bench.Options{Connections: 8, Batch: 1}},
		"lease/batch=100":        {lease, bench.Options{Connections: 8, Batch: 100}},
		"lease/in-flight=5000":   {lease, bench.Options{Connections: 8, Batch: 1, InFlight: 5000}},
	} {
		b.Run(name, func(b *testing.B) {
			o := run.o
			o.Size, o.Topics, o.Rounds, o.Duration = 128, 1, 2, time.Second
			o.Consumers = max(o.Consumers, 1)
			self := startSelf(b, true, o)
			works, stop, err := run.works(b.Context(), self, o)
			require.NoError(b, err)
			defer stop()
			measure(b, o, works)
		})
	}
}

// measure reports the rate of the first work and its ratio to the others.
func measure(b *testing.B, o bench.Options, works []bench.Work) {
	b.Helper()
	for b.Loop() {
		results, err := bench.Measure(b.Context(), o, works...)
		require.NoError(b, err)
		report := bench.NewReport(results)
		b.ReportMetric(report.Rows[0].PerSec, "msg/s")
		for _, row := range report.Rows[1:] {
			b.ReportMetric(row.Ratio, "of-"+strings.NewReplacer(", ", "-", " ", "-").Replace(row.Work))
		}
	}
}
