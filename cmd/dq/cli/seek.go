package cli

import (
	"github.com/spf13/cobra"

	"dq/sdk"
)

// seekCommand returns a new command each time: it is both "dq seek" and "dq consumer seek".
func seekCommand(c *client) *cobra.Command {
	return c.showConsumer("seek TOPIC CONSUMER START",
		"Move a consumer to first, new, a sequence, or a time; its leases end", cobra.ExactArgs(3),
		func(cmd *cobra.Command, s *sdk.Subscription, args []string) (info sdk.ConsumerInfo, err error) {
			start, err := sdk.ParseStart(args[0])
			if err != nil {
				return info, &usageError{err}
			}
			return s.Seek(cmd.Context(), start)
		})
}
