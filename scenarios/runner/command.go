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

// Main runs a command that [ProduceCommand] or [ConsumeCommand] made, until it ends or
// SIGINT or SIGTERM arrives. It returns the exit status: 0 done, 1 failed, 2 wrong
// usage.
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
	fmt.Fprintf(cmd.ErrOrStderr(), "run %s --help for the flags\n", cmd.Name())
	return exitUsage
}

// SplitTopics turns each word after --topics, up to the next that starts with "-",
// into a --topics flag of its own, because a flag takes only one value.
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
		if len(out) == first { // no value: the flag parser reports it
			out = append(out, "--topics")
		}
	}
	return out
}

// runError is an error of the run itself; all other errors are wrong usage.
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

// define adds the flags to a command.
func (o *options) define(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&o.id, "id", 0, "number of the runner, which names its file")
	flags.StringArrayVar(&o.topics, "topics", nil, "topics, as words or separated by commas")
	flags.StringVar(&o.broker, "broker", "127.0.0.1:5000", "broker to talk to, HOST:PORT or URL")
	flags.StringVar(&o.dir, "log_loc", ".", "directory of the log file")
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "-", "_"))
	})

	_ = cmd.MarkFlagRequired("id")
	_ = cmd.MarkFlagRequired("topics")
}

// check refuses wrong values of the flags and splits the topics.
func (o *options) check() error {
	if o.id < 0 {
		return fmt.Errorf("--id %d: want 0 or more", o.id)
	}

	var topics []string
	for _, topic := range strings.Split(strings.Join(o.topics, ","), ",") {
		if topic == "" {
			return errors.New("--topics: a topic name must not be empty")
		}
		if slices.Contains(topics, topic) {
			return fmt.Errorf("--topics: %s is given twice", topic)
		}
		topics = append(topics, topic)
	}
	o.topics = topics
	return nil
}

const topicsText = "Topics may be several words (--topics T1 T2 T3) or separated by commas (--topics T1,T2,T3).\n"

const statusText = "\n\nExit status: 0 done, 1 failed, 2 wrong usage."

// ProduceCommand returns the command runproduce. [Main] runs it.
func ProduceCommand() *cobra.Command {
	var o options
	cmd := o.command(&cobra.Command{
		Use:   "runproduce --id ID --topics T1 T2 T3",
		Short: "Produce the lines of a log file",
		Long: "Produce the lines of DIR/producer_ID.txt. A line has four fields, separated by tabs or\n" +
			"spaces: time, message, parallel, topic. The topics of the lines must repeat in the order of\n" +
			"--topics. The whole file is checked before anything is sent.\n" + topicsText +
			fmt.Sprintf("A line has at most %d bytes.", MaxLineBytes) + statusText,
		Example: "  runproduce --id 1 --topics T1 T2 T3 --broker 127.0.0.1:5000 --log_loc logs",
	}, "pause", o.produce)

	cmd.Flags().DurationVar(&o.wait, "pause", 0, "longest random wait between two rounds; 0: no wait")
	return cmd
}

// produce runs a producer with the options and shows its progress on stderr.
func (o *options) produce(ctx context.Context, client *sdk.Client, stderr io.Writer) error {
	display := NewDisplay(stderr, fmt.Sprintf("producer %d", o.id), "lines")
	defer display.Finish("sent")

	producer := Producer{ID: o.id, Topics: o.topics, Dir: o.dir, Pause: o.wait, Progress: display.Update}
	_, err := producer.Run(ctx, client)
	return err
}

// ConsumeCommand returns the command runconsume. [Main] runs it.
func ConsumeCommand() *cobra.Command {
	var o options
	cmd := o.command(&cobra.Command{
		Use:   "runconsume --id ID --topics T1 T2 T3",
		Short: "Consume topics into a log file",
		Long: "Consume topics in turns into DIR/consumer_ID.txt, one line for each message: the topic, five\n" +
			"spaces, the message unchanged. An older file is overwritten. The file is created when the\n" +
			"consumers are registered: from then on they see every message that is produced.\n" + topicsText +
			"The command ends when no message has come for the timeout." + statusText,
		Example: "  runconsume --id 1 --topics T1 T2 T3 --broker 127.0.0.1:5000 --log_loc logs",
	}, "timeout", o.consume)

	cmd.Flags().DurationVar(&o.wait, "timeout", 5*time.Second, "end when no message has come for this long; 0: never")
	return cmd
}

// consume runs a consumer with the options and shows its progress on stderr.
func (o *options) consume(ctx context.Context, client *sdk.Client, stderr io.Writer) error {
	display := NewDisplay(stderr, fmt.Sprintf("consumer %d", o.id), "lines")
	defer display.Finish("consumed")

	consumer := Consumer{ID: o.id, Topics: o.topics, Dir: o.dir, Timeout: o.wait, Progress: display.Count}
	_, err := consumer.Run(ctx, client)
	return err
}

// runFunc runs a runner that talks to a broker through client.
type runFunc func(ctx context.Context, client *sdk.Client, stderr io.Writer) error

// command adds the flags to cmd and lets it check them and then call run. WaitFlag is
// the name of the flag that sets o.wait.
func (o *options) command(cmd *cobra.Command, waitFlag string, run runFunc) *cobra.Command {
	cmd.Args, cmd.SilenceUsage, cmd.SilenceErrors = cobra.NoArgs, true, true
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := o.check(); err != nil {
			return err
		}
		if o.wait < 0 {
			return fmt.Errorf("--%s %s: want 0s or more", waitFlag, o.wait)
		}

		client, err := sdk.New(o.broker)
		if err != nil {
			return fmt.Errorf("--broker %s: %w", o.broker, err)
		}
		defer client.Close()

		if err := run(cmd.Context(), client, cmd.ErrOrStderr()); err != nil {
			return &runError{err}
		}
		return nil
	}

	o.define(cmd)
	return cmd
}
