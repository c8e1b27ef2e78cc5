package cli

import (
	"github.com/spf13/cobra"

	"dq/sdk"
)

func ackCommand(c *client) *cobra.Command {
	return c.onConsumer("ack TOPIC CONSUMER TOKEN...", "Acknowledge messages", cobra.MinimumNArgs(3),
		func(cmd *cobra.Command, s *sdk.Subscription, tokens []string) error {
			return s.Ack(cmd.Context(), tokens...)
		})
}
