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

// GrowthRow is what so many of something cost.
type GrowthRow struct {
	What      string  `json:"what"`
	Count     int     `json:"count"`
	PerSecond float64 `json:"made_per_second"`
	Bytes     int64   `json:"rss_bytes_each"`  // that a broker which has just started has more of, for each
	Heap      int64   `json:"heap_bytes_each"` // the same of Go's live heap
	ProduceMS float64 `json:"produce_p50_ms"`  // of one connection, with all of them there
	RestartMS float64 `json:"restart_ms"`      // until the broker was ready again
}

// maker makes the i-th of something.
type maker struct {
	what string
	make func(c *client, i int) error
}

// makers have the topics last: they take the most of a start, which the others
// need not share.
var makers = []maker{
	{"consumers", func(c *client, _ int) error {
		_, err := c.must("POST", "/v1/topics/idle/consumers", "{}", "")
		return err
	}},
	{"producers", func(c *client, _ int) error {
		_, err := c.must("POST", "/producer/register", `{"topic":"idle"}`, "")
		return err
	}},
	{"topics", func(c *client, i int) error {
		_, err := c.must("PUT", fmt.Sprintf("/v1/topics/growth-%d", i), "", "")
		return err
	}},
}

// makeAtOnce is how many calls that make something are under way.
const makeAtOnce = 8

// Growth makes topics, consumers and producers up to each of counts, and
// measures after each.
func (s *Self) Growth(ctx context.Context, counts []int, told func(GrowthRow)) error {
	c := newClient(s.URL(), makeAtOnce, "")
	if _, err := c.must("PUT", "/v1/topics/idle", "", ""); err != nil {
		return err
	}
	c.close()
	// Only brokers that have just started are compared: what one has cached in its
	// work says nothing of what things cost that are not in use. What the process
	// keeps for good after its first work does not count either.
	if _, err := s.probe(ctx); err != nil {
		return err
	}
	if _, err := s.restart(ctx); err != nil {
		return err
	}
	for _, m := range makers {
		before, made := settled(), 0
		for _, count := range counts {
			row, err := s.grow(ctx, m, made, count)
			if err != nil {
				return fmt.Errorf("%s: %w", m.what, err)
			}
			now, n := settled(), int64(max(count, 1))
			row.Bytes, row.Heap = (now.rss-before.rss)/n, (now.heap-before.heap)/n
			told(row)
			made = count
		}
	}
	return nil
}

// grow makes more of something, and leaves a broker that has just started.
func (s *Self) grow(ctx context.Context, m maker, from, to int) (row GrowthRow, err error) {
	c := newClient(s.URL(), makeAtOnce, "")
	defer c.close()
	begin := time.Now()
	var makers errgroup.Group
	makers.SetLimit(makeAtOnce)
	for i := from; i < to && ctx.Err() == nil; i++ {
		makers.Go(func() error { return m.make(c, i) })
	}
	if err := makers.Wait(); err != nil {
		return row, err
	}
	row = GrowthRow{What: m.what, Count: to, PerSecond: float64(to-from) / time.Since(begin).Seconds()}
	if row.ProduceMS, err = s.probe(ctx); err != nil {
		return row, err
	}
	ready, err := s.restart(ctx)
	row.RestartMS = float64(ready.Milliseconds())
	return row, err
}

// probe is the median time in milliseconds that one connection needs to produce.
func (s *Self) probe(ctx context.Context) (p50 float64, err error) {
	const topic = "growth-probe"
	o := Options{Connections: 1, Size: 128, Batch: 1, Topics: 1, Consumers: 1, Duration: time.Second, Rounds: 1}
	work, stop, err := Produce(s.URL(), topic, o)
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
	_, err = c.must("DELETE", "/v1/topics/"+topicName(topic, 0), "", "")
	return float64(results[0].Latency.ValueAtQuantile(50)) / 1000, err
}

// memory is that of this process, and the live heap in it, in bytes.
type memory struct{ rss, heap int64 }

// settled is the memory without garbage.
func settled() memory {
	runtime.GC() // twice with the next, as pools keep things for one
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_, rss := usage()
	return memory{rss, int64(m.HeapAlloc)} //nolint:gosec // far below 2^63
}

// Backlog measures how fast a consumer reads that is so many messages behind,
// and one that reads the last of the same topic.
func (s *Self) Backlog(ctx context.Context, behind int, o Options) ([]Result, error) {
	o.Connections, o.Consumers, o.Batch = min(o.Connections, 8), 1, 100
	c := newClient(s.URL(), o.Connections, "")
	defer c.close()
	const topic = "backlog"
	if _, err := c.must("PUT", "/v1/topics/"+topic, "", ""); err != nil {
		return nil, err
	}
	last := behind / 20
	works := make([]Work, 2)
	for i, part := range []struct {
		name, start string
		fill        int
	}{{fmt.Sprintf("%d behind", behind), "first", behind - last}, {fmt.Sprintf("the last %d", last), "new", last}} {
		path, err := register(c, topic, part.start, o)
		if err != nil {
			return nil, err
		}
		works[i] = consume(part.name, c, []string{path}, o, func() error { return errDone })
		if err := fill(ctx, c, topic, part.fill, o.Size); err != nil {
			return nil, err
		}
	}
	return Measure(ctx, o, works...)
}

// WriteGrowth writes rows for people.
func WriteGrowth(w io.Writer, rows []GrowthRow) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"what", "count", "made/s", "RSS KiB each", "heap KiB each", "produce p50 ms", "restart s"})
	for _, r := range rows {
		t.AppendRow(table.Row{r.What, r.Count, fmt.Sprintf("%.0f", r.PerSecond), fmt.Sprintf("%.1f", float64(r.Bytes)/1024), fmt.Sprintf("%.1f", float64(r.Heap)/1024), fmt.Sprintf("%.2f", r.ProduceMS), fmt.Sprintf("%.1f", r.RestartMS/1000)})
	}
	_, err := fmt.Fprintf(w, "%s\nThe memory of a process varies by a MiB or two from start to start: of 100 things, \"each\" is mostly that.\n", t.Render())
	return err
}
