package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func ackCommand(c *client) *cobra.Command {
	var upTo bool
	cmd := c.onConsumer("ack TOPIC CONSUMER TOKEN...", "Acknowledge messages", cobra.MinimumNArgs(3),
		func(cmd *cobra.Command, s *sdk.Subscription, tokens []string) error {
			switch {
			case upTo && len(tokens) > 1:
				return &usageError{errors.New("--up-to takes one TOKEN")}
			case upTo:
				return s.AckUpTo(cmd.Context(), tokens[0])
			}
			return s.Ack(cmd.Context(), tokens...)
		})
	cmd.Flags().BoolVar(&upTo, "up-to", false, "also acknowledge all messages that were handed out before TOKEN")
	return cmd
}
