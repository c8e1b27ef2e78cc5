package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"dq/cmd/dq/broker"
	"dq/sdk"
)

// The exit statuses of every command.
const (
	exitOK          = 0
	exitFailed      = 1 // it went wrong on the way
	exitUsage       = 2 // the command line or a setting is wrong
	exitRefused     = 3 // the broker refused: unknown topic, unknown id, ...
	exitEmpty       = 4 // there was no message to consume
	exitUnreachable = 5 // no broker answers, or it cannot do its work
)

const statuses = `
Exit status: 0 done, 1 failed, 2 wrong usage or setting, 3 refused by the broker,
4 no message to consume, 5 broker not reachable.`

// Main runs the dq command with args and returns its exit status.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, os.Stdin, os.Stdout, os.Stderr)
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	root := Root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ran := false
	started(root, &ran)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(stderr, "dq:", err)
		if !ran {
			return exitUsage
		}
	}
	return exitStatus(err)
}

func exitStatus(err error) int {
	var refused *sdk.Error
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, sdk.ErrEmpty):
		return exitEmpty
	case errors.As(err, &refused) && refused.Status < 500:
		return exitRefused
	case errors.As(err, &refused), errors.Is(err, sdk.ErrUnreachable):
		return exitUnreachable
	}
	return exitFailed
}

// usageError is a wrong command line or setting.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// commandRetries is how often a command tries again. Somebody is waiting.
const commandRetries = 2

// client is how a command talks to a broker, and how it prints what that says.
type client struct {
	broker string
	token  string
	json   bool
}

// flags defines the flags of the commands that talk to a broker.
func (c *client) flags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.broker, "broker", brokerAddress(), "broker to talk to, HOST:PORT or URL ($"+broker.BrokerVariable+")")
	// Its default is not that of the flag, lest the help shows it.
	flags.StringVar(&c.token, "token", "", "token to show to the broker ($"+broker.TokenVariable+")")
	c.jsonFlag(cmd)
}

func (c *client) jsonFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON objects, one a line")
}

// brokerAddress is the broker that the environment names, or that of this host.
func brokerAddress() string {
	if address := os.Getenv(broker.BrokerVariable); address != "" {
		return address
	}
	return "127.0.0.1:5000"
}

func (c *client) connect() (*sdk.Client, error) {
	token := c.token
	if token == "" {
		token = os.Getenv(broker.TokenVariable)
	}
	api, err := sdk.New(c.broker, sdk.WithRetries(commandRetries), sdk.WithToken(token))
	if err != nil {
		return nil, &usageError{err}
	}
	return api, nil
}

// Root is the dq command with all its subcommands.
func Root() *cobra.Command {
	root := &cobra.Command{
		Use:           "dq",
		Short:         "A log queue that speaks HTTP",
		Long:          "dq is a log queue that speaks HTTP: a broker in one process, and the commands to use it.\n" + statuses,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c := &client{}
	root.AddCommand(serveCommand(), demoCommand(), tokenCommand(), versionCommand(c))
	for _, cmd := range []*cobra.Command{
		topicsCommand(c), topicCommand(c), consumerCommand(c), seekCommand(c),
		produceCommand(c), browseCommand(c), tailCommand(c),
		fetchCommand(c), ackCommand(c), nackCommand(c),
		registerCommand(c), consumeCommand(c), sizeCommand(c),
		healthCommand(c), scenarioCommand(c), benchCommand(c), verifyCommand(c),
	} {
		c.flags(cmd)
		root.AddCommand(cmd)
	}
	return root
}

// started wraps the work of cmd and of all commands below it so that it sets
// *ran. An error before that is cobra's: the command line is wrong.
func started(cmd *cobra.Command, ran *bool) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*ran = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		started(sub, ran)
	}
}
