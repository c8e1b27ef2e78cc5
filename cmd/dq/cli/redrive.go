package cli

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"dq/scenarios/runner"
	"dq/sdk"
)

func redriveCommand(c *client) *cobra.Command {
	var which sdk.Redrive
	cmd := c.onTopic("redrive TOPIC", "Put the dead letters of TOPIC back into the topics from which they came",
		func(cmd *cobra.Command, topic *sdk.Topic) error {
			r := redrive{topic: topic, display: runner.NewDisplay(cmd.ErrOrStderr(), topic.Name(), "messages")}
			if err := r.run(cmd, which); err != nil {
				return err
			}
			return r.report(c.output(cmd))
		})
	cmd.Long = "Put the dead letters of TOPIC back into the topics from which they came.\n" +
		"Those that come while the command runs stay. After an interruption, run it again: " +
		"no message is put back twice."
	cmd.Example = "  dq redrive failed\n  dq redrive failed --consumer billing --to orders-retry"

	flags := cmd.Flags()
	flags.StringVar(&which.To, "to", "", "the topic that gets them, instead of those from which they came")
	flags.StringVar(&which.Reason, "reason", "", "only those that are there for that reason, such as max_deliveries")
	flags.StringVar(&which.Consumer, "consumer", "", "only those of the consumer with that name or id")
	return cmd
}

// redrive puts dead letters back, call by call.
type redrive struct {
	topic   *sdk.Topic
	display *runner.Display
	done    sdk.Redriven
}

// run makes calls until all messages that the topic has at the start were looked at.
func (r *redrive) run(cmd *cobra.Command, which sdk.Redrive) error {
	start, err := r.topic.Describe(cmd.Context())
	if err != nil {
		return err
	}
	total := int(start.Messages)
	r.display.Update(0, total)

	for {
		out, err := r.topic.Redrive(cmd.Context(), which)
		if err != nil {
			return err
		}
		r.add(out)
		if out.Next == 0 || out.Next > start.LastSequence {
			r.display.Update(total, total)
			r.display.Finish("looked at")
			return nil
		}
		r.display.Update(max(0, total-int(out.Left)), total)
		which.From = out.Next
	}
}

// add adds what one call has done.
func (r *redrive) add(out sdk.Redriven) {
	r.done.Redriven += out.Redriven
	for _, failed := range out.Failed {
		i := slices.IndexFunc(r.done.Failed, func(f sdk.RedriveFailure) bool { return f.Topic == failed.Topic })
		if i < 0 {
			r.done.Failed = append(r.done.Failed, failed)
			continue
		}
		r.done.Failed[i].Messages += failed.Messages
	}
}

// report prints the result. Dead letters that could not be put back are an error.
func (r *redrive) report(out output) error {
	err := out.line(struct {
		Redriven int                  `json:"redriven"`
		Failed   []sdk.RedriveFailure `json:"failed,omitempty"`
	}{r.done.Redriven, r.done.Failed}, fmt.Sprintf("put back %d messages", r.done.Redriven))
	if err != nil || len(r.done.Failed) == 0 {
		return err
	}

	slices.SortFunc(r.done.Failed, func(a, b sdk.RedriveFailure) int { return cmp.Compare(a.Topic, b.Topic) })
	text := ""
	for _, failed := range r.done.Failed {
		text += fmt.Sprintf("\n  %d for %s: %s", failed.Messages, failed.Topic, failed.Detail)
	}
	return fmt.Errorf("some dead letters stay in %s:%s", r.topic.Name(), text)
}
