package cli

import "github.com/spf13/cobra"

func healthCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Succeed if the broker is ready to work",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			if err := api.Ready(cmd.Context()); err != nil || !c.json {
				return err
			}
			return c.output(cmd).object(map[string]any{"ready": true})
		},
	}
}
