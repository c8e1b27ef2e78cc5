package cli

import (
	"errors"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func consumeCommand(c *client) *cobra.Command {
	var id int64
	var count int
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Print a consumer's messages, one a line",
		Long: "Print the messages that are left for the consumer --id, one a line, and stop; the\n" +
			"status is 4 if there was none. A message that was printed is consumed.\n" +
			"Without --id it registers a new consumer and prints what comes from now on.",
		Example: "  dq consume T1\n  id=$(dq register consumer T1); dq consume T1 --id $id --count 10",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			ctx, topic := cmd.Context(), args[0]
			var messages iter.Seq2[string, error]
			if cmd.Flags().Changed("id") {
				messages = func(yield func(string, error) bool) {
					for yield(api.Consume(ctx, topic, id)) {
					}
				}
			} else {
				consumer, err := sdk.NewConsumer(ctx, api, []string{topic}, sdk.WithIdleTimeout(timeout))
				if err != nil {
					return err
				}
				messages = func(yield func(string, error) bool) {
					for message, err := range consumer.Messages(ctx) {
						if !yield(message.Text, err) {
							return
						}
					}
				}
			}
			n := 0
			for message, err := range messages {
				if n > 0 && errors.Is(err, sdk.ErrEmpty) || err != nil && ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				if err := c.output(cmd).line(map[string]any{"message": message}, message); err != nil {
					return err
				}
				if n++; n == count {
					return nil
				}
			}
			return nil
		},
	}
	cmd.Flags().Int64Var(&id, "id", 0, "print what is left for this consumer")
	cmd.Flags().IntVarP(&count, "count", "n", 0, "stop after so many messages; 0 is never")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "without --id: stop when nothing came for so long; 0 is never")
	return cmd
}
