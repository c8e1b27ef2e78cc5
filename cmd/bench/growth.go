package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"golang.org/x/sync/errgroup"
)

// GrowthRow is what so many of something cost.
type GrowthRow struct {
	What      string  `json:"what"`
	Count     int     `json:"count"`
	PerSecond float64 `json:"made_per_second"`
	Bytes     int64   `json:"rss_bytes_each"` // that the process grew by, for each
	ProduceMS float64 `json:"produce_p50_ms"` // of one connection, with all of them there
	RestartMS float64 `json:"restart_ms"`     // until the broker was ready again
}

// maker makes the i-th of something.
type maker struct {
	what string
	make func(c *client, i int) error
}

var makers = []maker{
	{"topics", func(c *client, i int) error {
		_, err := c.must("PUT", fmt.Sprintf("/v1/topics/growth-%d", i), nil, "")
		return err
	}},
	{"consumers", func(c *client, _ int) error {
		_, err := c.must("POST", "/v1/topics/idle/consumers", []byte(`{}`), "")
		return err
	}},
	{"producers", func(c *client, _ int) error {
		_, err := c.must("POST", "/producer/register", []byte(`{"topic":"idle"}`), "")
		return err
	}},
}

// makeAtOnce is how many calls that make something are under way.
const makeAtOnce = 8

// Growth makes topics, consumers and producers up to each of counts, and
// measures after each.
func (s *Self) Growth(ctx context.Context, counts []int, told func(GrowthRow)) error {
	c := newClient(s.URL(), makeAtOnce)
	if _, err := c.must("PUT", "/v1/topics/idle", nil, ""); err != nil {
		return err
	}
	c.close()
	for _, m := range makers {
		made := 0
		for _, count := range counts {
			row, err := s.grow(ctx, m, made, count)
			if err != nil {
				return fmt.Errorf("%s: %w", m.what, err)
			}
			told(row)
			made = count
		}
	}
	return nil
}

func (s *Self) grow(ctx context.Context, m maker, from, to int) (row GrowthRow, err error) {
	c := newClient(s.URL(), makeAtOnce)
	defer func() { c.close() }()
	before := settledRSS()
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
	row.Bytes = (settledRSS() - before) / int64(max(to-from, 1))
	o := Options{Connections: 1, Size: 128, Batch: 1, Topics: 1, Consumers: 1, Duration: time.Second, Rounds: 1}
	work, stop, err := Produce(s.URL(), "growth-probe", o)
	if err != nil {
		return row, err
	}
	results, err := Measure(ctx, o, work)
	stop()
	if err != nil {
		return row, err
	}
	row.ProduceMS = float64(results[0].Latency.ValueAtQuantile(50)) / 1000
	c.close()
	ready, err := s.restart(ctx)
	row.RestartMS = float64(ready.Milliseconds())
	c = newClient(s.URL(), makeAtOnce)
	return row, err
}

// settledRSS is the memory of this process without what is garbage.
func settledRSS() int64 {
	runtime.GC()
	_, rss := usage()
	return rss
}

// Backlog measures how fast a consumer reads that is so many messages behind,
// and one that is at the head.
func (s *Self) Backlog(ctx context.Context, behind int, o Options) ([]Result, error) {
	o.Consumers, o.Batch = 1, 100
	far, stop, err := Consume(s.URL(), "backlog", behind, o)
	if err != nil {
		return nil, err
	}
	defer stop()
	near, stopNear, err := Consume(s.URL(), "head", behind/20, o)
	if err != nil {
		return nil, err
	}
	defer stopNear()
	far.Name, near.Name = fmt.Sprintf("%d behind", behind), fmt.Sprintf("%d behind", behind/20)
	return Measure(ctx, o, far, near)
}

// WriteGrowth writes rows for people.
func WriteGrowth(w io.Writer, rows []GrowthRow) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"what", "count", "made/s", "KiB each", "produce p50 ms", "restart s"})
	for _, r := range rows {
		t.AppendRow(table.Row{r.What, r.Count, fmt.Sprintf("%.0f", r.PerSecond), fmt.Sprintf("%.1f", float64(r.Bytes)/1024), fmt.Sprintf("%.2f", r.ProduceMS), fmt.Sprintf("%.1f", r.RestartMS/1000)})
	}
	_, err := fmt.Fprintln(w, t.Render())
	return err
}
