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
	"github.com/spf13/pflag"

	"dq/cmd/dq/bench"
	"dq/cmd/dq/broker"
	"dq/scenarios/runner"
)

// benchRun holds the flags of the bench commands.
type benchRun struct {
	*client
	opts       bench.Options
	self       bool
	storage    string
	durability string
	messages   int
	chart      string
	cpuProfile string
}

// benchKind is a kind of measurement, with its defaults.
type benchKind struct {
	name, short string
	connections int
	consumers   int // 0 is one for each connection
}

var benchKinds = []benchKind{
	{name: "produce", short: "Produce to new topics", connections: 64},
	{name: "consume", short: "Consume new topics of --messages messages", connections: 64},
	{name: "lease", short: "Fetch from work queues, and acknowledge", connections: 8, consumers: 1},
	{name: "both", short: "Produce to new topics and consume them meanwhile", connections: 64, consumers: 1},
	{name: "latency", short: "Produce, and wait until a consumer has the message", connections: 8},
}

func benchCommand(c *client) *cobra.Command {
	b := &benchRun{client: c}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast a broker is",
		Long: "Measure how fast a broker is. With --self, start one in this process, and measure an empty HTTP\n" +
			"handler and JetStream itself in the same run: the ratios hold on any machine.",
		Example: "  dq bench produce --self\n" +
			"  dq bench consume --self --consumers 1\n" +
			"  dq bench produce --self --batch 100 --chart produce.svg\n" +
			"  dq bench lease --self --batch 100 --in-flight 10000\n" +
			"  dq bench latency --self --rate 5000",
	}

	flags := cmd.PersistentFlags()
	flags.BoolVar(&b.self, "self", false, "start a broker in this process, and compare it")
	flags.StringVar(&b.storage, "storage", "file", "with --self: file or memory")
	flags.StringVar(&b.durability, "durability", "interval", "with --self: interval or always")
	flags.IntVar(&b.opts.Size, "size", 128, "bytes of a message")
	flags.DurationVar(&b.opts.Duration, "duration", 5*time.Second, "time for each kind of work")

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
			b.opts.Connections, b.opts.Consumers = connections, consumers
			if consumers == 0 {
				b.opts.Consumers = connections
			}
			return b.run(cmd, kind)
		},
	}

	flags := cmd.Flags()
	flags.IntVar(&connections, "connections", kind.connections, "connections that work at the same time")
	flags.IntVar(&consumers, "consumers", kind.consumers, "consumers to share the connections; 0 is one for each")
	b.addFlags(flags)
	if kind.name == "lease" {
		flags.IntVar(&b.opts.InFlight, "in-flight", 0, "messages in flight, besides those of the workers")
	}
	return cmd
}

// addFlags defines the flags that all kinds of measurement have with the same defaults.
func (b *benchRun) addFlags(flags *pflag.FlagSet) {
	flags.IntVar(&b.opts.Batch, "batch", 1, "messages in a call; 1 is the classic API")
	flags.IntVar(&b.opts.Topics, "topics", 1, "topics to spread the connections over")
	flags.IntVar(&b.opts.Rate, "rate", 0, "most messages per second; 0 is no limit")
	flags.IntVar(&b.opts.Rounds, "rounds", 3, "rounds in which the kinds of work take turns")
	flags.IntVar(&b.opts.Count, "count", 0, "messages of each kind of work, instead of --duration")
	flags.IntVar(&b.messages, "messages", 100_000, "messages in each topic to consume")
	flags.StringVar(&b.chart, "chart", "", "file to write a chart to, as SVG")
	flags.StringVar(&b.cpuProfile, "cpuprofile", "",
		"file to write a CPU profile to, for go tool pprof; measures dq only")
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

	works, stop, err := b.works(cmd.Context(), kind, self)
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

func (b *benchRun) check(kind benchKind) error {
	if err := b.opts.Check(); err != nil {
		return &usageError{err}
	}
	switch {
	case kind.name == "both" && b.opts.Count > 0:
		return &usageError{fmt.Errorf("--count %d: both takes --duration only", b.opts.Count)}
	case kind.name == "latency" && b.opts.Batch > 1:
		return &usageError{fmt.Errorf("--batch %d: latency is measured for single messages only", b.opts.Batch)}
	}
	return nil
}

// start starts a broker in this process, and what it is compared to. It returns nil without --self.
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
	return bench.StartSelf(ctx, b.storage == "file", durability, b.opts)
}

// works prepares what is to be measured: the broker first and, with --self, what it is compared to.
func (b *benchRun) works(
	ctx context.Context, kind benchKind, self *bench.Self,
) (works []bench.Work, stop func(), err error) {
	if self != nil {
		return b.selfWorks(ctx, kind, self)
	}

	b.opts.Token = b.credential()
	url := b.broker
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	return b.brokerWorks(ctx, kind, url)
}

// newPrefix returns a prefix of topic names that no earlier run had.
func newPrefix() string { return fmt.Sprintf("bench-%d", time.Now().UnixNano()) }

func (b *benchRun) selfWorks(
	ctx context.Context, kind benchKind, self *bench.Self,
) (works []bench.Work, stop func(), err error) {
	switch kind.name {
	case "both":
		return bench.ProduceAndConsume(self.URL(), newPrefix(), b.opts)
	case "produce":
		return self.Produce(b.opts)
	case "consume":
		return self.Consume(ctx, b.messages, b.opts)
	case "lease":
		return self.Lease(ctx, b.messages, b.opts)
	default:
		return self.Latency(ctx, b.opts)
	}
}

func (b *benchRun) brokerWorks(
	ctx context.Context, kind benchKind, url string,
) (works []bench.Work, stop func(), err error) {
	var work bench.Work
	switch kind.name {
	case "both":
		return bench.ProduceAndConsume(url, newPrefix(), b.opts)
	case "produce":
		work, stop, err = bench.Produce(url, newPrefix(), b.opts)
	case "consume":
		work, stop, err = bench.Consume(ctx, url, newPrefix(), b.messages, b.opts)
	case "lease":
		work, stop, err = bench.Lease(ctx, url, newPrefix(), b.messages, b.opts)
	default:
		work, stop, err = bench.Latency(url, newPrefix(), b.opts)
	}
	return []bench.Work{work}, stop, err
}

func (b *benchRun) measure(
	cmd *cobra.Command, kind benchKind, works []bench.Work,
) (report bench.Report, err error) {
	measure, total := bench.Measure, len(works)*b.opts.Rounds
	if kind.name == "both" {
		measure, total = bench.MeasureTogether, 1
	}

	if b.cpuProfile != "" {
		stop, startErr := startProfile(b.cpuProfile)
		if startErr != nil {
			return report, startErr
		}
		defer func() { err = errors.Join(err, stop()) }()
		if kind.name != "both" {
			works, total = works[:1], b.opts.Rounds // what dq is compared to runs in this process, too
		}
	}

	display, done := runner.NewDisplay(cmd.ErrOrStderr(), cmd.CommandPath(), "turns"), 0
	display.Update(done, total)
	b.opts.Progress = func() { done++; display.Update(done, total) }
	results, err := measure(cmd.Context(), b.opts, works...)
	display.Finish("did")
	if err != nil {
		return report, err
	}
	return bench.NewReport(results), nil
}

// startProfile writes a CPU profile to a file until stop is called.
func startProfile(name string) (stop func() error, err error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

func (b *benchRun) write(cmd *cobra.Command, report bench.Report) error {
	if b.chart != "" {
		title := fmt.Sprintf("%s, %d connections, %d bytes, batch %d",
			cmd.CommandPath(), b.opts.Connections, b.opts.Size, b.opts.Batch)
		if err := writeChart(b.chart, title, report); err != nil {
			return err
		}
	}
	if b.json {
		return report.WriteJSON(cmd.OutOrStdout())
	}
	return report.WriteTable(cmd.OutOrStdout())
}

func writeChart(name, title string, report bench.Report) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := report.WriteChart(file, title); err != nil {
		return errors.Join(err, file.Close())
	}
	return file.Close()
}
