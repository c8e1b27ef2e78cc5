package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/verify"
	"dq/cmd/dq/verify/fault"
	"dq/cmd/dq/verify/history"
	"dq/scenarios/runner"
)

// errViolated is the error of a run that found something.
var errViolated = errors.New("promises were not kept")

// verification is the flags of dq verify.
type verification struct {
	*client
	opts    verify.Options
	self    fault.Deployment
	own     bool
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
		Long: "Drive real traffic against a deployment, record every call, and check that nothing was lost, repeated,\n" +
			"reordered or made up, that ids, sizes, leases, batches and reads are right, and that registrations are\n" +
			"linearizable. Several URLs are facades of one deployment; without any it is the one of --broker.\n" +
			"The topics of the run have a prefix of their own and are deleted at the end.\n\n" +
			"With --self it starts a broker of its own and breaks it meanwhile. Faults: " + strings.Join(history.AllFaults, ", ") + ";\n" +
			"all is all that can be made here, none is none. clients hang up before the answer, and need no --self.\n\n" +
			"The exit status is 0 only if all promises were kept.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if v.opts.URLs = args; len(args) == 0 {
				v.opts.URLs = []string{v.broker}
			}
			return v.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&v.opts.Duration, "duration", 30*time.Second, "how long to make traffic")
	flags.Int64Var(&v.opts.Count, "count", 0, "begin no round of traffic after so many operations, in place of --duration")
	flags.IntVar(&v.opts.Clients, "clients", 2*verify.ClientsPerRound, fmt.Sprintf("clients that call at the same time, in groups of %d", verify.ClientsPerRound))
	flags.DurationVar(&v.opts.Timeout, "timeout", 7*time.Second, "how long a client waits for an answer (with --self 3s)")
	flags.DurationVar(&v.opts.Patience, "patience", time.Minute, "how long a client may get no answer at all before that is a violation")
	flags.BoolVar(&v.opts.Shared, "shared", false, "others use the deployment at the same time: ids may be skipped")
	flags.BoolVar(&v.opts.Keep, "keep", false, "do not delete the topics")
	flags.StringVar(&v.history, "history", "", "write every operation to this file, as lines of JSON")
	flags.StringVar(&v.replay, "replay", "", "check the history in this file again, and make no traffic")
	flags.BoolVar(&v.own, "self", false, "start a broker for the run")
	flags.StringSliceVar(&v.faults, "faults", []string{"none"}, "what to break, with commas, all or none")
	flags.StringVar(&v.storage, "storage", "file", "with --self: file or memory")
	flags.StringVar(&v.self.Durability, "durability", "interval", "with --self: interval or always")
	flags.IntVar(&v.self.Facades, "facades", 1, "with --self: how many brokers share the engine of the first")
	return cmd
}

func (v *verification) run(cmd *cobra.Command) error {
	if v.replay != "" {
		return v.again(cmd)
	}
	if err := v.check(cmd); err != nil {
		return &usageError{err}
	}
	files, err := v.files()
	if err != nil {
		return err
	}
	display := runner.NewDisplay(cmd.ErrOrStderr(), "verify", "seconds")
	total := int(v.opts.Duration.Seconds())
	if v.opts.Count > 0 {
		display, total = runner.NewDisplay(cmd.ErrOrStderr(), "verify", "operations"), int(v.opts.Count)
	}
	display.Update(0, total)
	v.opts.Progress = func(operations int64, elapsed time.Duration) {
		done := int(elapsed.Seconds())
		if v.opts.Count > 0 {
			done = int(operations)
		}
		display.Update(min(done, total), total)
	}
	result, err := v.traffic(cmd.Context())
	display.Finish("made traffic for")
	err = errors.Join(err, files.close())
	if result == nil {
		return err
	}
	if files.failed.used() {
		fmt.Fprintf(cmd.ErrOrStderr(), "the history of the topics with violations is in %s\n", files.failed.name)
	}
	return errors.Join(v.tell(cmd, result), err)
}

// check checks the flags, and fills in what follows from them.
func (v *verification) check(cmd *cobra.Command) error {
	if v.opts.Count > 0 {
		v.opts.Duration = 0
	}
	if v.opts.Token = v.token; v.token == "" {
		v.opts.Token = os.Getenv(broker.TokenVariable)
	}
	switch v.storage {
	case "file":
	case "memory":
		v.self.Memory = true
	default:
		return fmt.Errorf("--storage %q: want file or memory", v.storage)
	}
	if v.self.Facades < 1 {
		return errors.New("--facades: want at least 1")
	}
	if slices.Equal(v.faults, []string{"none"}) {
		v.faults = nil
	}
	if slices.Equal(v.faults, []string{"all"}) {
		v.faults = fault.Possible(v.self, v.own)
		fmt.Fprintf(cmd.ErrOrStderr(), "verify: the faults that can be made here are %s\n", strings.Join(v.faults, ", "))
	}
	v.opts.HangUp = slices.Contains(v.faults, history.FaultClients)
	if !v.own {
		if others := slices.DeleteFunc(slices.Clone(v.faults), func(f string) bool { return f == history.FaultClients }); len(others) > 0 {
			return fmt.Errorf("--faults %s: only a broker of our own is broken, add --self", strings.Join(others, ","))
		}
		return v.addresses()
	}
	if !cmd.Flags().Changed("timeout") {
		v.opts.Timeout = 3 * time.Second
	}
	return nil
}

// addresses makes URLs of what may be HOST:PORT.
func (v *verification) addresses() error {
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

// traffic makes the run.
func (v *verification) traffic(ctx context.Context) (result *verify.Result, err error) {
	if !v.own {
		return verify.Run(ctx, v.opts)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	v.self.Command = []string{self, "serve"}
	err = inTempDir(func(dir string) (err error) {
		v.self.Dir = filepath.Join(dir, "disk")
		if err := os.Mkdir(v.self.Dir, 0o700); err != nil {
			return err
		}
		log := &lateFile{name: filepath.Join(dir, "brokers.log")}
		result, err = verify.RunSelf(ctx, v.opts, v.self, v.faults, log)
		if (err != nil || !result.OK()) && log.used() {
			err = errors.Join(err, keep(log.name, fmt.Sprintf("dq-verify-%d-brokers.log", os.Getpid())))
		}
		return errors.Join(err, log.close())
	})
	return result, err
}

// keep copies a file out of a directory that is going to be removed.
func keep(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}

// again checks a history.
func (v *verification) again(cmd *cobra.Command) error {
	file, err := os.Open(v.replay)
	if err != nil {
		return &usageError{err}
	}
	defer file.Close()
	result, err := verify.Replay(file, v.opts.Shared)
	if err != nil {
		return err
	}
	return v.tell(cmd, result)
}

func (v *verification) tell(cmd *cobra.Command, result *verify.Result) error {
	var err error
	if v.json {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		err = encoder.Encode(result)
	} else {
		err = result.Write(cmd.OutOrStdout())
	}
	if !result.OK() {
		err = errors.Join(errViolated, err)
	}
	return err
}

// histories are the files for histories.
type histories struct{ all, failed *lateFile }

func (v *verification) files() (histories, error) {
	h := histories{failed: &lateFile{name: fmt.Sprintf("dq-verify-%d.jsonl", os.Getpid())}}
	if v.history == "" {
		v.opts.Failed = h.failed
		return h, nil
	}
	h.all = &lateFile{name: v.history}
	v.opts.History = h.all
	_, err := h.all.Write(nil) // now rather than when it is too late
	return h, err
}

func (h histories) close() error { return errors.Join(h.all.close(), h.failed.close()) }

// lateFile is a file that is made when something is written to it.
type lateFile struct {
	name string
	file *os.File
}

var _ io.Writer = (*lateFile)(nil)

func (f *lateFile) Write(p []byte) (int, error) {
	if f.file == nil {
		file, err := os.Create(f.name)
		if err != nil {
			return 0, err
		}
		f.file = file
	}
	return f.file.Write(p)
}

func (f *lateFile) used() bool { return f != nil && f.file != nil }

func (f *lateFile) close() error {
	if !f.used() {
		return nil
	}
	return f.file.Close()
}
