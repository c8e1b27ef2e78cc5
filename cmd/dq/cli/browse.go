package cli

import (
	"github.com/spf13/cobra"

	"dq/sdk"
)

func browseCommand(c *client) *cobra.Command {
	var what sdk.Selection
	var limit int
	cmd := c.onTopic("browse TOPIC", "Print messages of a topic without consuming them",
		func(cmd *cobra.Command, topic *sdk.Topic) error {
			records := topic.Records(cmd.Context(), what)
			if limit > 0 {
				records = atMost(limit, records)
			}
			return c.output(cmd).records(records)
		})
	cmd.Example = "  dq browse T1 --from 2026-01-31T12:00:00Z --limit 10"
	cmd.Flags().IntVar(&limit, "limit", 0, "most messages to print; 0 is no limit")
	addSelectionFlags(cmd, &what, sdk.AtFirst)
	return cmd
}

// addSelectionFlags defines the flags that select messages of a topic. From is the default of --from.
func addSelectionFlags(cmd *cobra.Command, what *sdk.Selection, from sdk.Start) {
	cmd.Flags().TextVar(&what.From, "from", from, "where to start: first, new, a sequence, or a time")
	cmd.Flags().StringVar(&what.Key, "key", "", "only messages with that key")
}
