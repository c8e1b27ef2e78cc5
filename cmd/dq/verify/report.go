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

// Write writes the result as tables, the first violations of each check, and a last
// line with the verdict.
func (r *Result) Write(w io.Writer) error {
	fmt.Fprintf(w, "%s\n%s\n", r.operationTable(), r.checkTable())
	writeCounts(w, "failures", r.Failures)
	writeCounts(w, "faults", r.Faults)
	r.writeViolations(w)

	verdict := "all promises were kept"
	if !r.OK() {
		verdict = fmt.Sprintf("%d VIOLATIONS", len(r.Violations))
	}
	_, err := fmt.Fprintf(w, "%s: %d operations in %d rounds and %s\n",
		verdict, r.Operations, r.Rounds, r.Elapsed.Round(time.Millisecond))
	return err
}

// operationTable returns the number of operations by kind and outcome.
func (r *Result) operationTable() string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"operation", history.OK, history.Refused, history.Unknown, "not sent"})
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		n := r.Counts[kind]
		t.AppendRow(table.Row{kind, n[history.OK], n[history.Refused], n[history.Unknown], n[history.Unreachable]})
	}
	return t.Render()
}

// checkTable returns what each check has looked at, and how often it was violated.
func (r *Result) checkTable() string {
	violations := make(map[string]int)
	for _, v := range r.Violations {
		violations[v.Check]++
	}

	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"check", "checked", "violations"})
	for _, name := range check.All {
		t.AppendRow(table.Row{name, r.Checked[name], violations[name]})
	}
	return t.Render()
}

// writeCounts writes counts on a line, nothing if there are none.
func writeCounts(w io.Writer, title string, counts map[string]int64) {
	if len(counts) == 0 {
		return
	}
	parts := make([]string, 0, len(counts))
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		// A status of 0 stands for no answer, which the code says.
		parts = append(parts, fmt.Sprintf("%s %d", strings.TrimPrefix(name, "0 "), counts[name]))
	}
	fmt.Fprintf(w, "%s: %s\n", title, strings.Join(parts, ", "))
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
