package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"dq/scenarios"
	"dq/scenarios/runner"
)

// scenarioIdle ends the consumers of a scenario. Its producers never pause, so after this time without a message none
// will come.
const scenarioIdle = time.Second

func scenarioCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scenario",
		Short: "Run the scenarios 2P2C and 5P3C, and check the result",
	}
	cmd.AddCommand(scenarioLogsCommand(), scenarioCheckCommand(c), scenarioRunCommand(c))
	return cmd
}

func scenarioLogsCommand() *cobra.Command {
	return planCommand("logs SCENARIO DIR", "Write the log files of the scenario's producers to DIR",
		func(_ *cobra.Command, plan scenarios.Plan, dir string) error { return scenarios.WriteLogs(plan, dir) })
}

func scenarioCheckCommand(c *client) *cobra.Command {
	return planCommand("check SCENARIO DIR",
		"Compare what the consumers wrote to DIR with what was produced from there",
		func(cmd *cobra.Command, plan scenarios.Plan, dir string) error {
			return checkScenario(c.output(cmd), plan, dir)
		})
}

func scenarioRunCommand(c *client) *cobra.Command {
	return planCommand("run SCENARIO DIR", "Write the log files to DIR, run the scenario in this process, and check it",
		func(cmd *cobra.Command, plan scenarios.Plan, dir string) error {
			scenario := &scenarioRun{plan: plan, broker: c.broker, dir: dir}
			return scenario.run(cmd, c.output(cmd))
		})
}

// planCommand returns a command whose arguments are a scenario and a directory.
func planCommand(
	use, short string, do func(cmd *cobra.Command, plan scenarios.Plan, dir string) error,
) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := scenarios.FindPlan(args[0])
			if err != nil {
				return &usageError{err}
			}
			return do(cmd, plan, args[1])
		},
	}
}

// scenarioRun runs a plan against a broker, with its log files in dir.
type scenarioRun struct {
	plan   scenarios.Plan
	broker string
	dir    string

	display   *runner.Display
	lines     int // to produce and to consume
	started   time.Time
	producing time.Duration // until the last line was produced; 0 before
}

// run writes the log files, runs the plan, shows its progress, and prints the table that a check of the result makes.
func (r *scenarioRun) run(cmd *cobra.Command, out output) error {
	if err := scenarios.WriteLogs(r.plan, r.dir); err != nil {
		return err
	}
	r.lines = r.plan.Produced()
	for _, consumer := range r.plan.Consumers {
		r.lines += r.plan.Consumed(consumer)
	}

	r.display = runner.NewDisplay(cmd.ErrOrStderr(), r.plan.Name, "lines")
	r.display.Update(0, r.lines)
	r.started = time.Now()
	err := scenarios.Run{
		Plan:     r.plan,
		Broker:   r.broker,
		Dir:      r.dir,
		Timeout:  scenarioIdle,
		Progress: r.progress,
	}.Do(cmd.Context())
	r.display.Finish("moved")
	if err != nil {
		return err
	}

	fmt.Fprintf(cmd.ErrOrStderr(), "%s: the producers were done after %s\n",
		r.plan.Name, r.producing.Round(time.Millisecond))
	return checkScenario(out, r.plan, r.dir)
}

// progress notes how many lines were produced and consumed. The run calls it from one goroutine at a time.
func (r *scenarioRun) progress(produced, consumed int) {
	r.display.Update(produced+consumed, r.lines)
	if produced == r.plan.Produced() && r.producing == 0 {
		r.producing = time.Since(r.started)
	}
}

// checkScenario prints what a check of the log files in dir finds.
func checkScenario(out output, plan scenarios.Plan, dir string) error {
	report, err := scenarios.Check(plan, dir)
	if err != nil {
		return err
	}

	if out.json {
		err = out.object(report)
	} else {
		err = report.Write(out.w)
	}
	if err != nil {
		return err
	}
	if !report.OK() {
		return scenarios.ErrDiffers
	}
	return nil
}
