package cli

import "github.com/spf13/cobra"

func topicsCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "topics",
		Short: "List the topics, one a line, in the order of their creation",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			topics, err := api.Topics(cmd.Context())
			if err != nil {
				return err
			}
			for _, topic := range topics {
				if err := c.output(cmd).line(map[string]any{"name": topic}, visible([]byte(topic))); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
