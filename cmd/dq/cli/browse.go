package cli

import (
	"iter"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func browseCommand(c *client) *cobra.Command {
	var what sdk.Selection
	var limit int
	cmd := topicAction(c, "browse TOPIC", "Print messages of a topic without consuming them", func(cmd *cobra.Command, topic *sdk.Topic) error {
		records := topic.Records(cmd.Context(), what)
		if limit > 0 {
			records = atMost(limit, records)
		}
		_, err := c.output(cmd).records(records)
		return err
	})
	cmd.Example = "  dq browse T1 --from 2026-01-31T12:00:00Z --limit 10"
	cmd.Flags().IntVar(&limit, "limit", 0, "how many messages at most; 0 is all")
	selectionFlags(cmd, &what, sdk.AtFirst)
	return cmd
}

func selectionFlags(cmd *cobra.Command, what *sdk.Selection, from sdk.Start) {
	cmd.Flags().TextVar(&what.From, "from", from, "where to start: first, new, a sequence, or a time")
	cmd.Flags().StringVar(&what.Key, "key", "", "only messages with that key")
}

func atMost[T any](limit int, values iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		n := 0
		for value, err := range values {
			if n++; !yield(value, err) || n == limit {
				return
			}
		}
	}
}
