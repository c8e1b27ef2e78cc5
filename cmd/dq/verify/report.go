package verify

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// shownViolations is how many violations of each check are shown with their
// history.
const shownViolations = 3

// Write writes the result as tables, with the violations behind them.
func (r *Result) Write(w io.Writer) error {
	operations := table.NewWriter()
	operations.SetStyle(table.StyleLight)
	operations.AppendHeader(table.Row{"operation", ok, refused, unknown, "not sent"})
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		n := r.Counts[kind]
		operations.AppendRow(table.Row{kind, n[ok], n[refused], n[unknown], n[unreachable]})
	}
	checks := table.NewWriter()
	checks.SetStyle(table.StyleLight)
	checks.AppendHeader(table.Row{"check", "checked", "violations"})
	violations := make(map[string]int)
	for _, v := range r.Violations {
		violations[v.Check]++
	}
	for _, check := range allChecks {
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

// String tells op on one line, for people.
func (op *Op) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%12.6fs to %12.6fs  %-8s facade %d  %s", float64(op.Call)/1e9, float64(op.Return)/1e9, op.Worker, op.Facade, op.Kind)
	say := func(name string, value any, there bool) {
		if there {
			fmt.Fprintf(&out, " %s=%v", name, value)
		}
	}
	switch op.Kind {
	case opProduce, opConsume, opFetch, opStream, opAck, opNack, opExtend, opSize:
		say("id", op.ID, true)
	}
	say("name", strconv.Quote(op.Name), op.Name != "")
	say("mode", op.Mode, op.Mode != "")
	say("from", op.From, op.From > 0)
	say("limit", op.Limit, op.Limit > 0)
	say("key", op.Key, op.Key != "")
	say("atomic", op.Atomic, op.Atomic)
	say("data", op.Data, len(op.Data) > 0)
	say("tokens", op.Tokens, len(op.Tokens) > 0)
	fmt.Fprintf(&out, " -> %s", op.Outcome)
	say("status", op.Status, op.Status > 0 && op.Outcome != ok)
	say("code", op.Code, op.Code != "")
	switch op.Kind {
	case opRegisterProducer, opRegisterConsumer, opCreateConsumer, opDescribeConsumer:
		say("id", op.ID, op.Outcome == ok)
	case opSize:
		say("size", op.Size, op.Outcome == ok)
	}
	say("lost", op.Lost, len(op.Lost) > 0)
	say("got", brief(op.Got), len(op.Got) > 0)
	say("receipts", op.Receipt, len(op.Receipt) > 0)
	return out.String()
}

// brief is messages in few words.
func brief(messages []Message) string {
	const most = 12
	var words []string
	for i, m := range messages {
		if i == most && len(messages) > most+1 {
			words = append(words, fmt.Sprintf("and %d more", len(messages)-i))
			break
		}
		word := m.Data
		if m.Sequence > 0 {
			word += fmt.Sprintf("@%d", m.Sequence)
		}
		if m.Deliveries > 0 {
			word += fmt.Sprintf("#%d", m.Deliveries)
		}
		words = append(words, word)
	}
	return "[" + strings.Join(words, " ") + "]"
}
