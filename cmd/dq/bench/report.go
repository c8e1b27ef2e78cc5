package bench

import (
	"fmt"
	"io"

	chart "github.com/go-analyze/charts/chartdraw"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/jedib0t/go-pretty/v6/table"
)

// Row holds a result as it is reported.
type Row struct {
	Work     string  `json:"work"`
	Messages int64   `json:"messages"`
	PerSec   float64 `json:"messages_per_second"`
	MBPerSec float64 `json:"megabytes_per_second"`
	P50      float64 `json:"p50_ms"` // of a call
	P90      float64 `json:"p90_ms"`
	P99      float64 `json:"p99_ms"`
	P999     float64 `json:"p999_ms"`
	Max      float64 `json:"max_ms"`
	CPU      float64 `json:"cpu_seconds,omitzero"` // of this process during the work
	// Ratio is the rate of dq divided by that of this work; 1 for dq itself, 0 for works
	// that ran at the same time.
	Ratio float64 `json:"dq_ratio,omitzero"`
}

// Report holds the results of a run. The first row is dq's.
type Report struct {
	Rows []Row `json:"rows"`
	// CPU and RSS are the processor seconds and the memory in bytes of this process. It
	// contains the load generator and, with --self, the broker.
	CPU float64 `json:"cpu_seconds"`
	RSS int64   `json:"rss_bytes"`
}

// NewReport makes a report of results. The first one must be dq's.
func NewReport(results []Result) Report {
	var r Report
	for _, result := range results {
		ms := func(q float64) float64 { return float64(result.Latency.ValueAtQuantile(q)) / 1000 }
		row := Row{
			Work: result.Name, Messages: result.Messages, PerSec: result.PerSecond(),
			MBPerSec: result.PerSecond() * float64(result.Bytes) / 1e6 / max(float64(result.Messages), 1),
			P50:      ms(50), P90: ms(90), P99: ms(99), P999: ms(99.9), Max: ms(100), CPU: result.CPU.Seconds(),
		}
		if row.PerSec > 0 && row.CPU > 0 {
			row.Ratio = results[0].PerSecond() / row.PerSec
		}
		r.Rows = append(r.Rows, row)
	}

	cpu, rss := usage()
	r.CPU, r.RSS = cpu.Seconds(), rss
	return r
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error { return writeJSON(w, r) }

func writeJSON[T any](w io.Writer, report *T) error {
	return json.MarshalWrite(w, report, jsontext.Multiline(true))
}

// WriteTable writes the report as a table for people.
func (r *Report) WriteTable(w io.Writer) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{
		"work", "msg/s", "MB/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "CPU s", "dq is",
	})

	for _, row := range r.Rows {
		t.AppendRow(table.Row{
			row.Work, fmt.Sprintf("%.0f", row.PerSec), fmt.Sprintf("%.1f", row.MBPerSec),
			fmt.Sprintf("%.2f", row.P50), fmt.Sprintf("%.2f", row.P90), fmt.Sprintf("%.2f", row.P99),
			fmt.Sprintf("%.2f", row.P999), fmt.Sprintf("%.2f", row.Max),
			fmt.Sprintf("%.1f", row.CPU), fmt.Sprintf("%.2f", row.Ratio),
		})
	}

	_, err := fmt.Fprintf(w, "%s\nthis process: %.1f s of CPU, %d MiB\n", t.Render(), r.CPU, r.RSS>>20)
	return err
}

// WriteChart writes the messages a second of each row as a bar chart, in SVG.
func (r *Report) WriteChart(w io.Writer, title string) error {
	bars := chart.BarChart{
		Title: title, Width: 240 + 180*len(r.Rows), Height: 400, BarWidth: 90,
		Background: chart.Style{Padding: chart.Box{Top: 50, Left: 20, Right: 20, Bottom: 20}},
		YAxis: chart.YAxis{
			Name: "messages/s", ValueFormatter: func(v any) string { return fmt.Sprintf("%.0f", v) },
		},
	}

	top := 1.0
	for _, row := range r.Rows {
		bars.Bars = append(bars.Bars, chart.Value{Label: row.Work, Value: row.PerSec})
		top = max(top, row.PerSec)
	}

	bars.YAxis.Range = &chart.ContinuousRange{Min: 0, Max: top * 1.1}
	return bars.Render(chart.SVG, w)
}
