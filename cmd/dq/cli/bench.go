package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dq/cmd/dq/bench"
	"dq/cmd/dq/broker"
	"dq/scenarios/runner"
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
	cpuProfile string
}

// benchKinds are the kinds of measurement, with their defaults.
var benchKinds = []benchKind{
	{name: "produce", short: "Produce to new topics", connections: 64},
	{name: "consume", short: "Consume new topics of --messages messages", connections: 64},
	{name: "both", short: "Produce to new topics and consume them meanwhile", connections: 64, consumers: 1},
	{name: "latency", short: "Produce, and wait until a consumer has it", connections: 8},
}

type benchKind struct {
	name, short            string
	connections, consumers int // 0 consumers is one for each connection
}

// works prepares what is to be measured.
func (b *benchRun) works(ctx context.Context, kind string, self *bench.Self) (works []bench.Work, stop func(), err error) {
	url, name := b.url(self), fmt.Sprintf("bench-%d", time.Now().UnixNano())
	if kind == "both" {
		return bench.ProduceAndConsume(url, name, b.o)
	}
	if self != nil {
		switch kind {
		case "produce":
			return self.Produce(b.o)
		case "consume":
			return self.Consume(ctx, b.messages, b.o)
		default:
			return self.Latency(ctx, b.o)
		}
	}
	var work bench.Work
	switch kind {
	case "produce":
		work, stop, err = bench.Produce(url, name, b.o)
	case "consume":
		work, stop, err = bench.Consume(ctx, url, name, b.messages, b.o)
	default:
		work, stop, err = bench.Latency(url, name, b.o)
	}
	return []bench.Work{work}, stop, err
}

func benchCommand(c *client) *cobra.Command {
	b := &benchRun{client: c}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast a broker is",
		Long: "Measure how fast a broker is. With --self it starts one in this process, and measures an\n" +
			"empty HTTP handler and JetStream itself in the same run: the ratios hold on any machine.",
		Example: "  dq bench produce --self\n  dq bench consume --self --consumers 1\n  dq bench produce --self --batch 100 --chart produce.svg\n  dq bench latency --self --rate 5000",
	}
	flags := cmd.PersistentFlags()
	flags.BoolVar(&b.self, "self", false, "start a broker in this process, and compare it")
	flags.StringVar(&b.storage, "storage", "file", "with --self: file or memory")
	flags.StringVar(&b.durability, "durability", "interval", "with --self: interval or always")
	flags.IntVar(&b.o.Size, "size", 128, "bytes of a message")
	flags.DurationVar(&b.o.Duration, "duration", 5*time.Second, "time for each kind of work")
	for _, kind := range benchKinds {
		cmd.AddCommand(b.command(kind))
	}
	cmd.AddCommand(b.growthCommand())
	return cmd
}

func (b *benchRun) command(kind benchKind) *cobra.Command {
	var connections, consumers int // each command has its own defaults
	cmd := &cobra.Command{
		Use: kind.name, Short: kind.short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b.o.Connections, b.o.Consumers = connections, consumers
			if consumers == 0 {
				b.o.Consumers = connections
			}
			return b.run(cmd, kind)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&connections, "connections", kind.connections, "connections that work at once")
	flags.IntVar(&consumers, "consumers", kind.consumers, "consumers to share the connections; 0 is one for each")
	flags.IntVar(&b.o.Batch, "batch", 1, "messages in a call; 1 is the classic API")
	flags.IntVar(&b.o.Topics, "topics", 1, "topics to spread the connections over")
	flags.IntVar(&b.o.Rate, "rate", 0, "messages a second at most; 0 is no limit")
	flags.IntVar(&b.o.Rounds, "rounds", 3, "rounds in which the kinds of work take turns")
	flags.IntVar(&b.o.Count, "count", 0, "messages of each kind of work, in place of --duration")
	flags.IntVar(&b.messages, "messages", 100_000, "messages in each topic to consume")
	flags.StringVar(&b.chart, "chart", "", "file to write a chart to, as SVG")
	flags.StringVar(&b.cpuProfile, "cpuprofile", "", "file to write a CPU profile to, for go tool pprof; measures dq only")
	return cmd
}

func (b *benchRun) check(kind benchKind) error {
	if err := b.o.Check(); err != nil {
		return &usageError{err}
	}
	switch {
	case kind.name == "both" && b.o.Count > 0:
		return &usageError{fmt.Errorf("--count %d: both takes --duration only", b.o.Count)}
	case kind.name == "latency" && b.o.Batch > 1:
		return &usageError{fmt.Errorf("--batch %d: latency is that of single messages", b.o.Batch)}
	}
	return nil
}

func (b *benchRun) run(cmd *cobra.Command, kind benchKind) error {
	if err := b.check(kind); err != nil {
		return err
	}
	self, err := b.start(cmd.Context())
	if err != nil {
		return err
	}
	if self != nil {
		defer self.Stop()
	}
	works, stop, err := b.works(cmd.Context(), kind.name, self)
	if err != nil {
		return err
	}
	defer stop()
	report, err := b.measure(cmd, kind, works)
	if err != nil {
		return err
	}
	return b.write(cmd, report)
}

// url is that of the broker to measure, and the token is the one to show it.
func (b *benchRun) url(self *bench.Self) string {
	if self != nil {
		return self.URL()
	}
	if b.o.Token = b.client.token; b.o.Token == "" {
		b.o.Token = os.Getenv(broker.TokenVariable)
	}
	if strings.Contains(b.client.broker, "://") {
		return b.client.broker
	}
	return "http://" + b.client.broker
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
	return bench.StartSelf(ctx, b.storage == "file", durability, b.o)
}

func (b *benchRun) measure(cmd *cobra.Command, kind benchKind, works []bench.Work) (report bench.Report, err error) {
	if b.cpuProfile != "" {
		file, err := os.Create(b.cpuProfile)
		if err != nil {
			return report, err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		if err := pprof.StartCPUProfile(file); err != nil {
			return report, err
		}
		defer pprof.StopCPUProfile()
		if kind.name != "both" {
			works = works[:1] // what dq is compared to runs in this process, too
		}
	}
	display := runner.NewDisplay(cmd.ErrOrStderr(), cmd.CommandPath(), "turns")
	measure, total, done := bench.Measure, len(works)*b.o.Rounds, 0
	if kind.name == "both" {
		measure, total = bench.MeasureTogether, 1
	}
	display.Update(done, total)
	b.o.Progress = func() { done++; display.Update(done, total) }
	results, err := measure(cmd.Context(), b.o, works...)
	display.Finish("did")
	if err != nil {
		return report, err
	}
	return bench.NewReport(results), nil
}

func (b *benchRun) write(cmd *cobra.Command, report bench.Report) error {
	if b.chart != "" {
		if err := b.writeChart(cmd, &report); err != nil {
			return err
		}
	}
	if b.client.json {
		return report.WriteJSON(cmd.OutOrStdout())
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
			b.o = bench.Options{Connections: 8, Batch: 1, Topics: 1, Consumers: 1, Rounds: 3, Size: b.o.Size, Duration: b.o.Duration}
			if err := b.o.Check(); err != nil {
				return &usageError{err}
			}
			if b.storage != "file" {
				return &usageError{fmt.Errorf("--storage %q: growth needs file, as a restart is part of it", b.storage)}
			}
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
	display := runner.NewDisplay(cmd.ErrOrStderr(), cmd.CommandPath(), "steps")
	done, total := 0, 3*len(counts)
	display.Update(done, total)
	rows, err := self.Growth(cmd.Context(), counts, func() { done++; display.Update(done, total) })
	display.Finish("ran")
	if err != nil {
		return err
	}

	out := bench.GrowthReport{Growth: rows}
	if behind > 0 {
		results, err := self.Backlog(cmd.Context(), behind, b.o)
		if err != nil {
			return err
		}
		report := bench.NewReport(results)
		out.Backlog = &report
	}
	if b.client.json {
		return out.WriteJSON(cmd.OutOrStdout())
	}
	return out.WriteTable(cmd.OutOrStdout())
}
