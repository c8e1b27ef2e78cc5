package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs the dq command with args and returns its exit status.
func Main(args []string) int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it, to outlive the terminal
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	return run(ctx, args, streams{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		outIsTerminal: isTerminal(os.Stdout), errIsTerminal: isTerminal(os.Stderr),
	})
}

// streams are what a command reads and writes.
type streams struct {
	in                           io.Reader
	out, err                     io.Writer
	outIsTerminal, errIsTerminal bool
}

func run(ctx context.Context, args []string, std streams) (status int) {
	root := Root()
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(escapedIf(std.outIsTerminal, std.out))
	root.SetErr(std.err)
	started := false
	noteStart(root, &started)

	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(escapedIf(std.errIsTerminal, std.err), "dq:", err)
	if !started {
		return exitUsage
	}
	return exitStatus(err)
}

// noteStart makes cmd and all its subcommands set *started when they begin to work. An error before that is cobra's:
// the command line is wrong.
func noteStart(cmd *cobra.Command, started *bool) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		noteStart(sub, started)
	}
}

// Root returns the dq command with all its subcommands.
func Root() *cobra.Command {
	root := &cobra.Command{
		Use:   "dq",
		Short: "A log queue that speaks HTTP",
		Long: "dq is a log queue that speaks HTTP: a broker in one process, and the commands to use it.\n" +
			exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
	}

	c := &client{}
	root.AddCommand(serveCommand(), demoCommand(), dataCommand(c), tokenCommand(), versionCommand(c))
	for _, cmd := range []*cobra.Command{
		topicsCommand(c), topicCommand(c), consumerCommand(c), seekCommand(c),
		produceCommand(c), browseCommand(c), tailCommand(c),
		fetchCommand(c), ackCommand(c), nackCommand(c),
		registerCommand(c), consumeCommand(c), sizeCommand(c),
		healthCommand(c), scenarioCommand(c), benchCommand(c), verifyCommand(c),
	} {
		c.addFlags(cmd)
		root.AddCommand(cmd)
	}
	for _, cmd := range root.Commands() {
		if cmd.HasSubCommands() {
			refuseUnknown(cmd)
		}
	}
	return root
}

// refuseUnknown makes a command that only has subcommands refuse an unknown subcommand. Cobra would show the help and
// succeed.
func refuseUnknown(cmd *cobra.Command) {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}
