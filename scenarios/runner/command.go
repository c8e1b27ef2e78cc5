package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dq/sdk"
)

// The exit statuses of both commands.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs cmd, made by [ProduceCommand] or [ConsumeCommand], with args until
// it ends or SIGINT or SIGTERM comes, and returns the exit status: 0 done,
// 1 failed, 2 wrong usage.
func Main(cmd *cobra.Command, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd.SetArgs(SplitTopics(args))
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", cmd.Name(), err)
	if _, ok := errors.AsType[*runError](err); ok {
		return exitFailed
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s --help says more\n", cmd.Name())
	return exitUsage
}

// SplitTopics turns the words after --topics, up to the next that starts with
// "-", into one --topics flag each, since a flag takes only one value.
func SplitTopics(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		if args[i] != "--topics" {
			out = append(out, args[i])
			continue
		}
		first := len(out)
		for i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			out = append(out, "--topics="+args[i])
		}
		if len(out) == first { // no value: the flag parser says so
			out = append(out, "--topics")
		}
	}
	return out
}

// runError is an error of the run itself; all others are wrong usage.
type runError struct{ error }

func (e *runError) Unwrap() error { return e.error }

// options are the flags that both commands have.
type options struct {
	id     int
	topics []string
	broker string
	dir    string
	wait   time.Duration // --pause or --timeout
}

func (o *options) define(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&o.id, "id", 0, "number of the runner, which names its file")
	flags.StringArrayVar(&o.topics, "topics", nil, "topics, as words or parted by commas")
	flags.StringVar(&o.broker, "broker", "127.0.0.1:5000", "broker to talk to, HOST:PORT or URL")
	flags.StringVar(&o.dir, "log_loc", ".", "directory of the log file")
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "-", "_"))
	})
	_ = cmd.MarkFlagRequired("id")
	_ = cmd.MarkFlagRequired("topics")
}

// check refuses values that have the right type and make no sense, and parts
// the topics.
func (o *options) check() error {
	if o.id < 0 {
		return fmt.Errorf("--id %d: want a number from 0", o.id)
	}
	var topics []string
	for _, topic := range strings.Split(strings.Join(o.topics, ","), ",") {
		if topic == "" {
			return errors.New("--topics: a topic name may not be empty")
		}
		if slices.Contains(topics, topic) {
			return fmt.Errorf("--topics: %s is there twice", topic)
		}
		topics = append(topics, topic)
	}
	o.topics = topics
	return nil
}

const topicsText = "Topics may be several words (--topics T1 T2 T3) or parted by commas (--topics T1,T2,T3).\n"

const statusText = "\n\nExit status: 0 done, 1 failed, 2 wrong usage."

// ProduceCommand is the command runproduce. [Main] runs it.
func ProduceCommand() *cobra.Command {
	var o options
	cmd := o.command(&cobra.Command{
		Use:   "runproduce --id ID --topics T1 T2 T3",
		Short: "Produce the lines of a log file",
		Long: "Produce the lines of DIR/producer_ID.txt. A line has four fields, parted by tabs or spaces:\n" +
			"time, message, parallel, topic. Their topics have to go round in the order of --topics; the\n" +
			"whole file is checked before anything is sent.\n" + topicsText +
			fmt.Sprintf("A line has at most %d bytes.", MaxLineBytes) + statusText,
		Example: "  runproduce --id 1 --topics T1 T2 T3 --broker 127.0.0.1:5000 --log_loc logs",
	}, "pause", func(ctx context.Context, client *sdk.Client, stderr io.Writer) error {
		display := NewDisplay(stderr, fmt.Sprintf("producer %d", o.id), "lines")
		defer display.Finish("sent")
		_, err := Producer{ID: o.id, Topics: o.topics, Dir: o.dir, Pause: o.wait, Progress: display.Update}.Run(ctx, client)
		return err
	})
	cmd.Flags().DurationVar(&o.wait, "pause", 0, "wait a random time under this between rounds")
	return cmd
}

// ConsumeCommand is the command runconsume. [Main] runs it.
func ConsumeCommand() *cobra.Command {
	var o options
	cmd := o.command(&cobra.Command{
		Use:   "runconsume --id ID --topics T1 T2 T3",
		Short: "Consume topics into a log file",
		Long: "Consume topics by turns into DIR/consumer_ID.txt, a line for each message: the topic, five\n" +
			"spaces, the message as it is. An older file is overwritten. The file is made when the consumers\n" +
			"are registered: once it is there, they see all that is produced.\n" + topicsText +
			"It ends when nothing has come for the timeout." + statusText,
		Example: "  runconsume --id 1 --topics T1 T2 T3 --broker 127.0.0.1:5000 --log_loc logs",
	}, "timeout", func(ctx context.Context, client *sdk.Client, stderr io.Writer) error {
		display := NewDisplay(stderr, fmt.Sprintf("consumer %d", o.id), "lines")
		defer display.Finish("consumed")
		progress := func(written int) { display.Update(written, -1) }
		_, err := Consumer{ID: o.id, Topics: o.topics, Dir: o.dir, Timeout: o.wait, Progress: progress}.Run(ctx, client)
		return err
	})
	cmd.Flags().DurationVar(&o.wait, "timeout", 5*time.Second, "end when nothing has come for this long; 0: never")
	return cmd
}

// command is cmd with the options, which wait, the duration of that flag, is one
// of. It does run once they make sense.
func (o *options) command(cmd *cobra.Command, wait string, run func(ctx context.Context, client *sdk.Client, stderr io.Writer) error) *cobra.Command {
	cmd.Args, cmd.SilenceUsage, cmd.SilenceErrors = cobra.NoArgs, true, true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(); err != nil {
			return err
		}
		if o.wait < 0 {
			return fmt.Errorf("--%s %s: want a duration from 0", wait, o.wait)
		}
		client, err := sdk.New(o.broker)
		if err != nil {
			return fmt.Errorf("--broker %s: %w", o.broker, err)
		}
		defer client.Close()
		return failed(run(cmd.Context(), client, cmd.ErrOrStderr()))
	}
	o.define(cmd)
	return cmd
}

func failed(err error) error {
	if err == nil {
		return nil
	}
	return &runError{err}
}
