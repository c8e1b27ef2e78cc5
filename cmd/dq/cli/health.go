package cli

import (
	"github.com/spf13/cobra"

	"dq/sdk"
)

func healthCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Succeed if the broker is ready to work",
		Args:  cobra.NoArgs,
		RunE: c.connect(func(cmd *cobra.Command, api *sdk.Client, _ []string) error {
			if err := api.Ready(cmd.Context()); err != nil || !c.json {
				return err
			}
			return c.output(cmd).object(map[string]any{"ready": true})
		}),
	}
}
