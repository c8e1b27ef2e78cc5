package cli

import (
	"github.com/spf13/cobra"

	"dq/sdk"
)

func topicsCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "topics",
		Short: "List the topics, one per line, in the order of their creation",
		Args:  cobra.NoArgs,
		RunE: c.connect(func(cmd *cobra.Command, api *sdk.Client, _ []string) error {
			topics, err := api.Topics(cmd.Context())
			if err != nil {
				return err
			}

			for _, topic := range topics {
				err := c.output(cmd).line(map[string]any{"name": topic}, visible([]byte(topic)))
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
}
