package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"dq/cmd/dq/verify"
	"dq/cmd/dq/verify/fault"
	"dq/cmd/dq/verify/history"
	"dq/scenarios/runner"
)

// errViolated is the error of a run that found a violation.
var errViolated = errors.New("promises were not kept")

// selfTimeout is how long a client waits for an answer of a broker of our own, unless --timeout is given.
const selfTimeout = 3 * time.Second

// verification holds the flags of dq verify.
type verification struct {
	*client
	opts    verify.Options
	own     fault.Deployment // the brokers to start with --self
	self    bool
	faults  []string
	storage string
	history string
	replay  string
}

func verifyCommand(c *client) *cobra.Command {
	v := &verification{client: c}
	cmd := &cobra.Command{
		Use:   "verify [URL...]",
		Short: "Check a deployment against its promises with real traffic",
		Long: "Send real traffic to a deployment, record every call, and check that no message was lost, repeated,\n" +
			"reordered or invented, that ids, sizes, leases, dead letters, delays, purges, seeks, settings and\n" +
			"reads are right, and that registrations are linearizable. Several URLs are brokers of one deployment,\n" +
			"which may be in use by others; without a URL it is the broker of --broker.\n" +
			"The topics of the run have a prefix of their own and are deleted at the end.\n\n" +
			"With --self, start a broker for the run and break it meanwhile. Faults: " +
			strings.Join(history.AllFaults, ", ") + ";\n" +
			"all means all that are possible on this machine, none means none. The fault clients (clients hang up\n" +
			"before the answer) needs no --self.\n\n" +
			"The exit status is 0 only if all promises were kept.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if v.opts.URLs = args; len(args) == 0 {
				v.opts.URLs = []string{v.broker}
			}
			return v.run(cmd)
		},
	}

	v.addFlags(cmd.Flags())
	return cmd
}

func (v *verification) addFlags(flags *pflag.FlagSet) {
	flags.DurationVar(&v.opts.Duration, "duration", 30*time.Second, "how long to send traffic")
	flags.Int64Var(&v.opts.Count, "count", 0,
		"start no round of traffic after this many operations, instead of --duration")
	flags.IntVar(&v.opts.Clients, "clients", 2*verify.ClientsPerRound,
		fmt.Sprintf("clients that call at the same time, in groups of %d", verify.ClientsPerRound))
	flags.DurationVar(&v.opts.Timeout, "timeout", 7*time.Second,
		fmt.Sprintf("how long a client waits for an answer (with --self %s)", selfTimeout))
	flags.DurationVar(&v.opts.Patience, "patience", time.Minute,
		"how long a client may go without any answer before that is a violation")
	flags.BoolVar(&v.opts.Shared, "shared", false, "others use the deployment at the same time: ids may be skipped")
	flags.BoolVar(&v.opts.Keep, "keep", false, "do not delete the topics")
	flags.StringVar(&v.history, "history", "", "write every operation to this file, as lines of JSON")
	flags.StringVar(&v.replay, "replay", "", "check the history in this file again, without any traffic")

	flags.BoolVar(&v.self, "self", false, "start a broker for the run")
	flags.StringSliceVar(&v.faults, "faults", []string{"none"}, "comma-separated faults to cause, or all or none")
	flags.StringVar(&v.storage, "storage", "file", "with --self: file or memory")
	flags.StringVar(&v.own.Durability, "durability", "interval", "with --self: interval or always")
	flags.IntVar(&v.own.Facades, "facades", 1, "with --self: how many brokers share the engine of the first")
}

func (v *verification) run(cmd *cobra.Command) error {
	if v.replay != "" {
		return v.checkAgain(cmd)
	}
	if err := v.check(cmd); err != nil {
		return &usageError{err}
	}
	files, err := v.openHistories()
	if err != nil {
		return err
	}

	display := v.showProgress(cmd)
	result, err := v.sendTraffic(cmd.Context())
	display.Finish("sent traffic for")

	err = errors.Join(err, files.close())
	if result == nil {
		return err
	}
	if files.failed.used() {
		fmt.Fprintf(cmd.ErrOrStderr(), "the history of the topics with violations is in %s\n", files.failed.name)
	}
	return errors.Join(v.report(cmd, result), err)
}

// check checks the flags and completes the options of the run.
func (v *verification) check(cmd *cobra.Command) error {
	v.opts.Token = v.credential()
	if v.opts.Count > 0 {
		v.opts.Duration = 0
	}
	if v.storage != "file" && v.storage != "memory" {
		return fmt.Errorf("--storage %q: want file or memory", v.storage)
	}
	v.own.Memory = v.storage == "memory"
	if v.own.Facades < 1 {
		return errors.New("--facades: want at least 1")
	}

	if err := v.checkFaults(cmd); err != nil {
		return err
	}
	if !v.self {
		return v.completeURLs()
	}
	if !cmd.Flags().Changed("timeout") {
		v.opts.Timeout = selfTimeout
	}
	return nil
}

// checkFaults resolves none and all, and refuses faults that need a broker of our own.
func (v *verification) checkFaults(cmd *cobra.Command) error {
	switch {
	case slices.Equal(v.faults, []string{"none"}):
		v.faults = nil
	case slices.Equal(v.faults, []string{"all"}):
		v.faults = fault.Possible(v.own, v.self)
		v.sayFaults(cmd)
	}

	v.opts.HangUp = slices.Contains(v.faults, history.FaultClients)
	isClients := func(f string) bool { return f == history.FaultClients }
	others := slices.DeleteFunc(slices.Clone(v.faults), isClients)
	if len(others) > 0 && !v.self {
		return fmt.Errorf("--faults %s: only a broker of our own can be broken, add --self", strings.Join(others, ","))
	}
	return nil
}

// sayFaults says which faults are possible, and which are left out.
func (v *verification) sayFaults(cmd *cobra.Command) {
	fmt.Fprintf(cmd.ErrOrStderr(), "verify: the faults that are possible here are %s\n", strings.Join(v.faults, ", "))
	var left []string
	for _, f := range history.AllFaults {
		if !slices.Contains(v.faults, f) {
			left = append(left, f)
		}
	}

	switch {
	case len(left) > 0 && !v.self:
		fmt.Fprintf(cmd.ErrOrStderr(),
			"verify: left out are %s, which need brokers that dq verify has started (--self)\n",
			strings.Join(left, ", "))
	case len(left) > 0:
		fmt.Fprintf(cmd.ErrOrStderr(), "verify: left out are %s\n", strings.Join(left, ", "))
	}
}

// completeURLs turns addresses of the form HOST:PORT into URLs.
func (v *verification) completeURLs() error {
	for i, address := range v.opts.URLs {
		if !strings.Contains(address, "://") {
			address = "http://" + address
		}
		if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
			return fmt.Errorf("%q: want HOST:PORT or a URL", v.opts.URLs[i])
		}
		v.opts.URLs[i] = strings.TrimRight(address, "/")
	}
	return nil
}

// showProgress returns a display that shows how much of the duration or of the count is done.
func (v *verification) showProgress(cmd *cobra.Command) *runner.Display {
	if total := int(v.opts.Count); total > 0 {
		display := runner.NewDisplay(cmd.ErrOrStderr(), "verify", "operations")
		display.Update(0, total)
		v.opts.Progress = func(operations int64, _ time.Duration) { display.Update(min(int(operations), total), total) }
		return display
	}

	total := int(v.opts.Duration.Seconds())
	display := runner.NewDisplay(cmd.ErrOrStderr(), "verify", "seconds")
	display.Update(0, total)
	v.opts.Progress = func(_ int64, elapsed time.Duration) { display.Update(min(int(elapsed.Seconds()), total), total) }
	return display
}

// sendTraffic sends traffic to the deployment or, with --self, to brokers of its own, and checks what happened.
func (v *verification) sendTraffic(ctx context.Context) (*verify.Result, error) {
	if v.self {
		return v.runSelf(ctx)
	}
	return verify.Run(ctx, v.opts)
}

// runSelf starts brokers for the run, with their files in a temporary directory. If it finds a violation, it keeps
// their log.
func (v *verification) runSelf(ctx context.Context) (result *verify.Result, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "dq-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	v.own.Command = []string{self, "serve"}
	v.own.Dir = filepath.Join(dir, "disk")
	if err := os.Mkdir(v.own.Dir, 0o700); err != nil {
		return nil, err
	}

	log := &lateFile{name: filepath.Join(dir, "brokers.log")}
	result, err = verify.RunSelf(ctx, v.opts, v.own, v.faults, log)
	if (err != nil || !result.OK()) && log.used() {
		err = errors.Join(err, copyFile(log.name, fmt.Sprintf("dq-verify-%d-brokers.log", os.Getpid())))
	}
	return result, errors.Join(err, log.close())
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

// checkAgain checks the history of an earlier run.
func (v *verification) checkAgain(cmd *cobra.Command) error {
	file, err := os.Open(v.replay)
	if err != nil {
		return &usageError{err}
	}
	defer file.Close()

	result, err := verify.Replay(file, v.opts.Shared)
	if err != nil {
		return err
	}
	return v.report(cmd, result)
}

// report prints a result. It returns [errViolated] if the result has a violation.
func (v *verification) report(cmd *cobra.Command, result *verify.Result) (err error) {
	if v.json {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		err = encoder.Encode(result)
	} else {
		err = result.Write(cmd.OutOrStdout())
	}

	if !result.OK() {
		return errors.Join(errViolated, err)
	}
	return err
}
