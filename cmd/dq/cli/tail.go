package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func tailCommand(c *client) *cobra.Command {
	var what sdk.Selection
	var n int
	var follow bool
	cmd := topicAction(c, "tail TOPIC", "Print the last messages of a topic, and those to come", func(cmd *cobra.Command, topic *sdk.Topic) error {
		var err error
		ctx, last := cmd.Context(), []sdk.Record(nil)
		if !cmd.Flags().Changed("from") {
			if last, what.From, err = lastOf(ctx, topic, n, what.Key); err != nil {
				return err
			}
		}
		records := topic.Records(ctx, what)
		if follow {
			records = topic.Stream(ctx, what)
		}
		_, err = c.output(cmd).records(func(yield func(sdk.Record, error) bool) {
			for _, r := range last {
				if !yield(r, nil) {
					return
				}
			}
			records(yield)
		})
		if follow && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			return nil // Ctrl-C is how it ends
		}
		return err
	})
	cmd.Example = "  dq tail T1 -f\n  dq tail T1 -n 100 --key eu --json"
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is produced, until Ctrl-C")
	cmd.Flags().IntVarP(&n, "lines", "n", 10, "how many messages")
	selectionFlags(cmd, &what, sdk.Start{})
	return cmd
}

// lastOf returns the last n messages of a topic, and the place behind them. It
// looks further back as long as it has not found enough: sequences can be
// missing, and messages can have other keys.
func lastOf(ctx context.Context, topic *sdk.Topic, n int, key string) (last []sdk.Record, next sdk.Start, err error) {
	info, err := topic.Describe(ctx)
	if err != nil || n <= 0 {
		return nil, sdk.AtSequence(info.LastSequence + 1), err
	}
	end := info.LastSequence
	for window := uint64(n); ; window *= 8 {
		from := info.FirstSequence
		if window < end && end-window+1 > from {
			from = end - window + 1
		}
		last = nil
		for r, err := range topic.Records(ctx, sdk.Selection{From: sdk.AtSequence(from), Key: key}) {
			if err != nil {
				return nil, next, err
			}
			if r.Sequence > end {
				break
			}
			if last = append(last, r); len(last) > n {
				last = slices.Delete(last, 0, 1)
			}
		}
		if len(last) == n || from == info.FirstSequence {
			return last, sdk.AtSequence(end + 1), nil
		}
	}
}
