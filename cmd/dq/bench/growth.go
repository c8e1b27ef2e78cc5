package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/sync/errgroup"
)

// GrowthRow says what a number of topics, consumers or producers cost.
type GrowthRow struct {
	What      string  `json:"what"`
	Count     int     `json:"count"`
	PerSecond float64 `json:"made_per_second"`
	Bytes     int64   `json:"rss_bytes_each"`  // of memory that a restarted broker has more, for each
	Heap      int64   `json:"heap_bytes_each"` // the same for Go's live heap
	ProduceMS float64 `json:"produce_p50_ms"`  // of one connection, while all of them exist
	RestartMS float64 `json:"restart_ms"`      // until the broker was ready again
}

// GrowthReport holds the results of [Self.Growth] and [Self.Backlog].
type GrowthReport struct {
	Growth  []GrowthRow `json:"growth"`
	Backlog *Report     `json:"backlog,omitzero"` // nil: not measured
}

// growthKind is one kind of thing whose cost is measured.
type growthKind struct {
	name   string
	create func(c *client, i int) error // creates number i
}

// growthKinds have the topics last: topics take most of the time of a start, and the
// other kinds should be measured without them.
var growthKinds = []growthKind{
	{"consumers", func(c *client, _ int) error {
		_, err := c.send("POST", "/v1/topics/idle/consumers", "{}")
		return err
	}},
	{"producers", func(c *client, _ int) error {
		_, err := c.send("POST", "/producer/register", `{"topic":"idle"}`)
		return err
	}},
	{"topics", func(c *client, i int) error {
		_, err := c.send("PUT", fmt.Sprintf("/v1/topics/growth-%d", i), "")
		return err
	}},
}

// concurrentCreations is how many calls that create something run at once.
const concurrentCreations = 8

// Growth creates consumers, producers and topics up to each of counts, and measures
// after each count. It calls progress after each measurement.
func (s *Self) Growth(ctx context.Context, counts []int, progress func()) (rows []GrowthRow, err error) {
	c := newClient(s.URL(), concurrentCreations, "")
	_, err = c.send("PUT", "/v1/topics/idle", "")
	c.close()
	if err != nil {
		return nil, err
	}

	// Only brokers that have just started are compared: what a broker caches while it
	// works says nothing about the cost of things that are not in use. What the process
	// keeps for good after its first work does not count either.
	if _, err := s.measureProduce(ctx); err != nil {
		return nil, err
	}
	if _, err := s.restart(ctx); err != nil {
		return nil, err
	}

	for _, kind := range growthKinds {
		before, created := memoryAfterGC(), 0
		for _, count := range counts {
			row, err := s.grow(ctx, kind, created, count)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kind.name, err)
			}

			now, n := memoryAfterGC(), int64(max(count, 1))
			row.Bytes, row.Heap = (now.rss-before.rss)/n, (now.heap-before.heap)/n
			rows = append(rows, row)
			progress()
			created = count
		}
	}
	return rows, nil
}

// grow creates numbers from up to to of a kind, measures, and restarts the broker.
func (s *Self) grow(ctx context.Context, kind growthKind, from, to int) (row GrowthRow, err error) {
	row = GrowthRow{What: kind.name, Count: to}
	if row.PerSecond, err = s.create(ctx, kind, from, to); err != nil {
		return row, err
	}
	if row.ProduceMS, err = s.measureProduce(ctx); err != nil {
		return row, err
	}

	ready, err := s.restart(ctx)
	row.RestartMS = float64(ready.Milliseconds())
	return row, err
}

// create creates numbers from up to to of a kind and returns how many it created a
// second.
func (s *Self) create(ctx context.Context, kind growthKind, from, to int) (perSecond float64, err error) {
	c := newClient(s.URL(), concurrentCreations, "")
	defer c.close()

	begin := time.Now()
	var creations errgroup.Group
	creations.SetLimit(concurrentCreations)
	for i := from; i < to && ctx.Err() == nil; i++ {
		creations.Go(func() error { return kind.create(c, i) })
	}
	if err := creations.Wait(); err != nil {
		return 0, err
	}
	return float64(to-from) / time.Since(begin).Seconds(), nil
}

// measureProduce returns the median time in milliseconds of a produce call on one
// connection.
func (s *Self) measureProduce(ctx context.Context) (p50 float64, err error) {
	const prefix = "growth-probe"
	o := Options{Connections: 1, Size: 128, Batch: 1, Topics: 1, Consumers: 1, Duration: time.Second, Rounds: 1}
	work, stop, err := Produce(s.URL(), prefix, o)
	if err != nil {
		return 0, err
	}
	defer stop()

	results, err := Measure(ctx, o, work)
	if err != nil {
		return 0, err
	}

	c := newClient(s.URL(), 1, "")
	defer c.close()
	_, err = c.send("DELETE", "/v1/topics/"+topicName(prefix, 0), "")
	return float64(results[0].Latency.ValueAtQuantile(50)) / 1000, err
}

// memory is that of this process, and the live heap in it, in bytes.
type memory struct{ rss, heap int64 }

// memoryAfterGC returns the memory without garbage.
func memoryAfterGC() memory {
	runtime.GC() // FreeOSMemory collects a second time, because pools keep things for one collection
	debug.FreeOSMemory()

	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_, rss := usage()
	return memory{rss: rss, heap: int64(m.HeapAlloc)}
}

// Backlog measures how fast a consumer reads that is that many messages behind, and one
// that reads the last twentieth of the same topic.
func (s *Self) Backlog(ctx context.Context, behind int, o Options) ([]Result, error) {
	o.Connections, o.Consumers, o.Batch = min(o.Connections, 8), 1, 100
	c := newClient(s.URL(), o.Connections, "")
	defer c.close()

	const topic = "backlog"
	if _, err := c.send("PUT", "/v1/topics/"+topic, ""); err != nil {
		return nil, err
	}

	// Each consumer is created before its part of the messages.
	last := behind / 20
	works := make([]Work, 2)
	for i, part := range []struct {
		name, start string
		messages    int
	}{
		{fmt.Sprintf("%d behind", behind), "first", behind - last},
		{fmt.Sprintf("the last %d", last), "new", last},
	} {
		path, err := createConsumer(c, topic, part.start, o)
		if err != nil {
			return nil, err
		}
		if err := fill(ctx, c, topic, part.messages, o.Size); err != nil {
			return nil, err
		}
		works[i] = consumeCalls{client: c, paths: []string{path}, whenEmpty: endRound, o: o}.work(part.name)
	}
	return Measure(ctx, o, works...)
}

// WriteJSON writes the report as one JSON object.
func (r *GrowthReport) WriteJSON(w io.Writer) error { return writeJSON(w, r) }

// WriteTable writes the report as tables for people.
func (r *GrowthReport) WriteTable(w io.Writer) error {
	if r.Backlog != nil {
		if err := r.Backlog.WriteTable(w); err != nil {
			return err
		}
	}

	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"what", "count", "made/s", "RSS KiB each", "heap KiB each", "produce p50 ms", "restart s"})
	for _, row := range r.Growth {
		t.AppendRow(table.Row{
			row.What, row.Count, fmt.Sprintf("%.0f", row.PerSecond),
			fmt.Sprintf("%.1f", float64(row.Bytes)/1024), fmt.Sprintf("%.1f", float64(row.Heap)/1024),
			fmt.Sprintf("%.2f", row.ProduceMS), fmt.Sprintf("%.1f", row.RestartMS/1000),
		})
	}

	_, err := fmt.Fprintf(w, "%s\nThe memory of a process varies by a MiB or two from start to start: "+
		"of 100 things, \"each\" is mostly that.\n", t.Render())
	return err
}
