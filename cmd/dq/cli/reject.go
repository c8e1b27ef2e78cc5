package cli

import (
	"github.com/spf13/cobra"

	"dq/sdk"
)

func rejectCommand(c *client) *cobra.Command {
	var reason string
	cmd := c.onConsumer("reject TOPIC CONSUMER TOKEN...", "Move messages to the dead-letter topic", cobra.MinimumNArgs(3),
		func(cmd *cobra.Command, s *sdk.Subscription, tokens []string) error {
			return s.Reject(cmd.Context(), reason, tokens...)
		})
	cmd.Flags().StringVar(&reason, "reason", "", "why, in one line: a header of the dead letters has it")
	return cmd
}
