package cli

import (
	"github.com/spf13/cobra"

	"dq/sdk"
)

func healthCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Succeed if the broker is ready to work",
		Long: "Succeed if the broker is ready to work. While its disk is full it is ready, and says that it takes no " +
			"new data.",
		Args: cobra.NoArgs,
		RunE: c.connect(func(cmd *cobra.Command, api *sdk.Client, _ []string) error {
			ready, err := api.Readiness(cmd.Context())
			if err != nil {
				return err
			}

			switch {
			case c.json:
				return c.output(cmd).object(map[string]any{"ready": true, "accepts_data": ready.AcceptsData})
			case !ready.AcceptsData:
				cmd.PrintErrln(ready.Message)
			}
			return nil
		}),
	}
}
