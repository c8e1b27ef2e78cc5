package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"dq/scenarios"
	"dq/scenarios/runner"
)

// scenarioIdle ends the consumers of a scenario. Its producers never pause, so
// that nothing came for so long means that nothing will.
const scenarioIdle = time.Second

func scenarioCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scenario",
		Short: "Run the scenarios 2P2C and 5P3C, and check what came out",
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "logs SCENARIO DIR",
		Short: "Write the log files of the scenario's producers to DIR",
		Args:  cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			plan, err := findPlan(args[0])
			if err != nil {
				return err
			}
			return scenarios.WriteLogs(plan, args[1])
		},
	}, &cobra.Command{
		Use:   "check SCENARIO DIR",
		Short: "Compare what the consumers wrote to DIR with what was produced from there",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := findPlan(args[0])
			if err != nil {
				return err
			}
			return check(c.output(cmd), plan, args[1])
		},
	}, &cobra.Command{
		Use:   "run SCENARIO DIR",
		Short: "Write the log files to DIR, run the scenario in this process, and check it",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := findPlan(args[0])
			if err != nil {
				return err
			}
			return runScenario(cmd, c.output(cmd), plan, c.broker, args[1])
		},
	})
	return cmd
}

func findPlan(name string) (scenarios.Plan, error) {
	plan, err := scenarios.FindPlan(name)
	if err != nil {
		return plan, &usageError{err}
	}
	return plan, nil
}

// runScenario runs plan against broker with its log files in dir, shows how far
// it is, and prints the checked table.
func runScenario(cmd *cobra.Command, out output, plan scenarios.Plan, broker, dir string) error {
	if err := scenarios.WriteLogs(plan, dir); err != nil {
		return err
	}
	lines := plan.Produced()
	for _, consumer := range plan.Consumers {
		lines += plan.Consumed(consumer)
	}
	display := runner.NewDisplay(cmd.ErrOrStderr(), plan.Name, "lines")
	display.Update(0, lines)
	started := time.Now()
	var producing time.Duration
	err := scenarios.Run{
		Plan: plan, Broker: broker, Dir: dir, Timeout: scenarioIdle,
		Progress: func(produced, consumed int) {
			display.Update(produced+consumed, lines)
			if produced == plan.Produced() && producing == 0 {
				producing = time.Since(started)
			}
		},
	}.Do(cmd.Context())
	display.Finish("moved")
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: the producers were done after %s\n", plan.Name, producing.Round(time.Millisecond))
	return check(out, plan, dir)
}

func check(out output, plan scenarios.Plan, dir string) error {
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

// inTempDir calls do with a new directory and removes that afterwards.
func inTempDir(do func(dir string) error) error {
	dir, err := os.MkdirTemp("", "dq-")
	if err != nil {
		return err
	}
	return errors.Join(do(dir), os.RemoveAll(dir))
}
