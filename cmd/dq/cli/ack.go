package cli

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func ackCommand(c *client) *cobra.Command {
	var upTo bool
	cmd := consumerAction(c, "ack TOPIC CONSUMER TOKEN...", "Acknowledge messages", 3, func(cmd *cobra.Command, s *sdk.Subscription, tokens []string) error {
		switch {
		case upTo && len(tokens) > 1:
			return &usageError{errors.New("--up-to takes one TOKEN")}
		case upTo:
			return s.AckUpTo(cmd.Context(), tokens[0])
		}
		return s.Ack(cmd.Context(), tokens...)
	})
	cmd.Flags().BoolVar(&upTo, "up-to", false, "acknowledge all that were handed out before TOKEN, too")
	return cmd
}

func nackCommand(c *client) *cobra.Command {
	var delay time.Duration
	cmd := consumerAction(c, "nack TOPIC CONSUMER TOKEN...", "Give messages back, to be handed out again", 3, func(cmd *cobra.Command, s *sdk.Subscription, tokens []string) error {
		return s.Nack(cmd.Context(), delay, tokens...)
	})
	cmd.Flags().DurationVar(&delay, "delay", 0, "hand them out again after so long")
	return cmd
}
