package cli

import (
	"github.com/spf13/cobra"

	"dq/sdk"
)

func healthCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Succeed if the broker is ready to work",
		Long: "Succeed if the broker is ready to work. It is while its disk is full, too, and then says so: it serves " +
			"reads and deletions.",
		Args: cobra.NoArgs,
		RunE: c.connect(func(cmd *cobra.Command, api *sdk.Client, _ []string) error {
			ready, err := api.Readiness(cmd.Context())
			switch {
			case err != nil:
				return err
			case c.json:
				return c.output(cmd).object(map[string]any{"ready": true, "accepts_data": ready.AcceptsData})
			case !ready.AcceptsData:
				cmd.PrintErrln(ready.Message)
			}
			return nil
		}),
	}
}
