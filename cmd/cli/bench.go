package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dq/cmd/bench"
	"dq/cmd/broker"
	"dq/cmd/runner"
)

// benchRun is what the bench commands share.
type benchRun struct {
	client     *client
	o          bench.Options
	self       bool
	storage    string
	durability string
	messages   int
	chart      string
}

func benchCommand(c *client) *cobra.Command {
	b := &benchRun{client: c}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast a broker is",
		Long: "Measure how fast a broker is. With --self it starts one in this process, and measures an\n" +
			"empty HTTP handler and JetStream itself in the same run: the ratios hold on any machine.",
		Example: "  dq bench produce --self\n  dq bench consume --self --consumers 1\n  dq bench produce --self --batch 100 --chart produce.svg",
	}
	flags := cmd.PersistentFlags()
	flags.BoolVar(&b.self, "self", false, "start a broker in this process, and compare it")
	flags.StringVar(&b.storage, "storage", "file", "with --self: file or memory")
	flags.StringVar(&b.durability, "durability", "interval", "with --self: interval or always")
	flags.IntVar(&b.o.Connections, "connections", 64, "connections that work at once")
	flags.IntVar(&b.o.Size, "size", 128, "bytes of a message")
	flags.IntVar(&b.o.Batch, "batch", 1, "messages in a call; 1 is the classic API")
	flags.IntVar(&b.o.Topics, "topics", 1, "topics to produce to")
	flags.IntVar(&b.o.Consumers, "consumers", 64, "consumers to share the connections")
	flags.IntVar(&b.o.Rate, "rate", 0, "messages a second at most; 0 is no limit")
	flags.IntVar(&b.o.Rounds, "rounds", 3, "rounds in which the kinds of work take turns")
	flags.DurationVar(&b.o.Duration, "duration", 6*time.Second, "time for each kind of work")
	flags.IntVar(&b.messages, "messages", 100_000, "messages in the topic to consume")
	flags.StringVar(&b.chart, "chart", "", "file to write a chart to, as SVG")
	cmd.AddCommand(
		b.command("produce", "Produce to new topics", b.produce),
		b.command("consume", "Consume a new topic with --consumers consumers", b.consume),
		b.growthCommand(),
	)
	return cmd
}

func (b *benchRun) command(name, short string, works func(context.Context, string, *bench.Self) ([]bench.Work, func(), error)) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.o.Check(); err != nil {
				return &usageError{err}
			}
			self, err := b.start(cmd.Context())
			if err != nil {
				return err
			}
			url := b.client.broker
			if !strings.Contains(url, "://") {
				url = "http://" + url
			}
			if self != nil {
				defer self.Stop()
				url = self.URL()
			}
			kinds, stop, err := works(cmd.Context(), url, self)
			if err != nil {
				return err
			}
			defer stop()
			return b.measure(cmd, kinds)
		},
	}
}

// start starts a broker, if the run is to have its own.
func (b *benchRun) start(ctx context.Context) (*bench.Self, error) {
	if !b.self {
		return nil, nil
	}
	var durability broker.Durability
	if err := durability.Decode(b.durability); err != nil {
		return nil, &usageError{fmt.Errorf("--durability %q: %w", b.durability, err)}
	}
	if b.storage != "file" && b.storage != "memory" {
		return nil, &usageError{fmt.Errorf("--storage %q: want file or memory", b.storage)}
	}
	return bench.StartSelf(ctx, b.storage == "file", durability, b.o.Size)
}

// runName keeps the topics of one run apart from those of another.
func runName() string { return fmt.Sprintf("bench-%d", time.Now().UnixNano()) }

func (b *benchRun) produce(_ context.Context, url string, self *bench.Self) ([]bench.Work, func(), error) {
	if self != nil {
		return self.Produce(b.o)
	}
	work, stop, err := bench.Produce(url, runName(), b.o)
	return []bench.Work{work}, stop, err
}

func (b *benchRun) consume(ctx context.Context, url string, self *bench.Self) ([]bench.Work, func(), error) {
	if self != nil {
		return self.Consume(ctx, b.messages, b.o)
	}
	work, stop, err := bench.Consume(url, runName(), b.messages, b.o)
	return []bench.Work{work}, stop, err
}

func (b *benchRun) measure(cmd *cobra.Command, works []bench.Work) error {
	display := runner.NewDisplay(cmd.ErrOrStderr(), cmd.CommandPath(), "ms")
	total := len(works) * int(b.o.Duration.Milliseconds())
	done := time.Duration(0)
	display.Update(0, total)
	b.o.Progress = func(d time.Duration) {
		done += d
		display.Update(int(done.Milliseconds()), total)
	}
	results, err := bench.Measure(cmd.Context(), b.o, works...)
	display.Finish("ran")
	if err != nil {
		return err
	}
	report := bench.NewReport(results)
	if b.chart != "" {
		if err := b.writeChart(cmd, &report); err != nil {
			return err
		}
	}
	if b.client.json {
		return bench.WriteJSON(cmd.OutOrStdout(), report)
	}
	return report.WriteTable(cmd.OutOrStdout())
}

func (b *benchRun) writeChart(cmd *cobra.Command, report *bench.Report) error {
	file, err := os.Create(b.chart)
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%s, %d connections, %d bytes, batch %d", cmd.CommandPath(), b.o.Connections, b.o.Size, b.o.Batch)
	if err := report.WriteChart(file, title); err != nil {
		return err
	}
	return file.Close()
}

func (b *benchRun) growthCommand() *cobra.Command {
	var counts []int
	var behind int
	cmd := &cobra.Command{
		Use: "growth", Short: "Measure what topics, consumers, producers and a backlog cost (starts its own broker)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.self = true
			self, err := b.start(cmd.Context())
			if err != nil {
				return err
			}
			defer self.Stop()
			return b.growth(cmd, self, counts, behind)
		},
	}
	cmd.Flags().IntSliceVar(&counts, "counts", []int{100, 1000, 10000}, "how many to make, in steps")
	cmd.Flags().IntVar(&behind, "behind", 1_000_000, "messages that a consumer is behind; 0 leaves that out")
	return cmd
}

func (b *benchRun) growth(cmd *cobra.Command, self *bench.Self, counts []int, behind int) error {
	var out struct {
		Growth  []bench.GrowthRow `json:"growth"`
		Backlog *bench.Report     `json:"backlog,omitzero"`
	}
	if behind > 0 {
		results, err := self.Backlog(cmd.Context(), behind, b.o)
		if err != nil {
			return err
		}
		report := bench.NewReport(results)
		out.Backlog = &report
	}
	display := runner.NewDisplay(cmd.ErrOrStderr(), cmd.CommandPath(), "steps")
	display.Update(0, 3*len(counts))
	err := self.Growth(cmd.Context(), counts, func(row bench.GrowthRow) {
		out.Growth = append(out.Growth, row)
		display.Update(len(out.Growth), 3*len(counts))
	})
	display.Finish("ran")
	if err != nil {
		return err
	}
	if b.client.json {
		return bench.WriteJSON(cmd.OutOrStdout(), out)
	}
	if out.Backlog != nil {
		if err := out.Backlog.WriteTable(cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	return bench.WriteGrowth(cmd.OutOrStdout(), out.Growth)
}
