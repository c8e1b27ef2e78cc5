package cli

import (
	"time"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func nackCommand(c *client) *cobra.Command {
	var delay time.Duration
	cmd := c.onConsumer("nack TOPIC CONSUMER TOKEN...", "Give messages back for redelivery", cobra.MinimumNArgs(3),
		func(cmd *cobra.Command, s *sdk.Subscription, tokens []string) error {
			return s.Nack(cmd.Context(), delay, tokens...)
		})
	cmd.Flags().DurationVar(&delay, "delay", 0, "redeliver them after this time")
	return cmd
}
