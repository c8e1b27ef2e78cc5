package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"dq/cmd/dq/bench"
	"dq/scenarios/runner"
)

// growthRun holds the flags of dq bench growth.
type growthRun struct {
	*benchRun
	counts []int
	lag    int
}

func (b *benchRun) growthCommand() *cobra.Command {
	g := &growthRun{benchRun: b}
	cmd := &cobra.Command{
		Use:   "growth",
		Short: "Measure what topics, consumers, producers and a backlog cost (starts its own broker)",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return g.run(cmd) },
	}
	cmd.Flags().IntSliceVar(&g.counts, "counts", []int{100, 1000, 10000}, "how many to create, in steps")
	cmd.Flags().IntVar(&g.lag, "behind", 1_000_000, "messages that a consumer is behind; 0 leaves that out")
	return cmd
}

func (g *growthRun) run(cmd *cobra.Command) error {
	g.self = true
	g.opts = bench.Options{
		Connections: 8,
		Batch:       1,
		Topics:      1,
		Consumers:   1,
		Rounds:      3,
		Size:        g.opts.Size,
		Duration:    g.opts.Duration,
	}
	if err := g.opts.Check(); err != nil {
		return &usageError{err}
	}
	if g.storage != "file" {
		return &usageError{fmt.Errorf("--storage %q: growth needs file, because it restarts the broker", g.storage)}
	}

	self, err := g.start(cmd.Context())
	if err != nil {
		return err
	}
	defer self.Stop()

	report, err := g.measure(cmd, self)
	if err != nil {
		return err
	}
	if g.json {
		return report.WriteJSON(cmd.OutOrStdout())
	}
	return report.WriteTable(cmd.OutOrStdout())
}

func (g *growthRun) measure(cmd *cobra.Command, self *bench.Self) (report bench.GrowthReport, err error) {
	display, total := runner.NewDisplay(cmd.ErrOrStderr(), cmd.CommandPath(), "steps"), 3*len(g.counts)
	done := 0
	display.Update(done, total)
	report.Growth, err = self.Growth(cmd.Context(), g.counts, func() { done++; display.Update(done, total) })
	display.Finish("ran")
	if err != nil || g.lag <= 0 {
		return report, err
	}

	results, err := self.Backlog(cmd.Context(), g.lag, g.opts)
	if err != nil {
		return report, err
	}
	backlog := bench.NewReport(results)
	report.Backlog = &backlog
	return report, nil
}
