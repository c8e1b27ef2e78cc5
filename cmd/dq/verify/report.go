package verify

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"dq/cmd/dq/verify/check"
	"dq/cmd/dq/verify/history"
)

// shownViolations is how many violations of each check are shown with their
// history.
const shownViolations = 3

// Write writes the result as tables, with the violations behind them.
func (r *Result) Write(w io.Writer) error {
	operations := table.NewWriter()
	operations.SetStyle(table.StyleLight)
	operations.AppendHeader(table.Row{"operation", history.OK, history.Refused, history.Unknown, "not sent"})
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		n := r.Counts[kind]
		operations.AppendRow(table.Row{kind, n[history.OK], n[history.Refused], n[history.Unknown], n[history.Unreachable]})
	}
	checks := table.NewWriter()
	checks.SetStyle(table.StyleLight)
	checks.AppendHeader(table.Row{"check", "checked", "violations"})
	violations := make(map[string]int)
	for _, v := range r.Violations {
		violations[v.Check]++
	}
	for _, check := range check.AllChecks {
		checks.AppendRow(table.Row{check, r.Checked[check], violations[check]})
	}
	fmt.Fprintf(w, "%s\n%s\n", operations.Render(), checks.Render())
	line(w, "failures", r.Failures)
	line(w, "faults", r.Faults)
	r.writeViolations(w)
	verdict := "all promises were kept"
	if !r.OK() {
		verdict = fmt.Sprintf("%d VIOLATIONS", len(r.Violations))
	}
	_, err := fmt.Fprintf(w, "%s: %d operations in %d rounds and %s\n", verdict, r.Operations, r.Rounds, r.Elapsed.Round(time.Millisecond))
	return err
}

// line writes counts on a line, if there are any.
func line(w io.Writer, what string, counts map[string]int64) {
	parts := make([]string, 0, len(counts))
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", strings.TrimPrefix(name, "0 "), counts[name]))
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "%s: %s\n", what, strings.Join(parts, ", "))
	}
}

func (r *Result) writeViolations(w io.Writer) {
	shown := make(map[string]int)
	for _, v := range r.Violations {
		if shown[v.Check]++; shown[v.Check] > shownViolations {
			continue
		}
		fmt.Fprintf(w, "\n%s: %s\n", strings.ToUpper(v.Check), v.Text)
		if v.Topic != "" {
			fmt.Fprintf(w, "  topic %s\n", v.Topic)
		}
		for _, op := range v.Ops {
			fmt.Fprintf(w, "  %s\n", op)
		}
	}
	if len(r.Violations) > 0 {
		fmt.Fprintln(w)
	}
}
