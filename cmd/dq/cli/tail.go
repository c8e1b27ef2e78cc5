package cli

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"dq/sdk"
)

// tailing holds the flags of dq tail.
type tailing struct {
	*client
	what   sdk.Selection
	lines  int
	follow bool
}

func tailCommand(c *client) *cobra.Command {
	o := &tailing{client: c}
	cmd := c.onTopic("tail TOPIC", "Print the last messages of a topic, and follow new ones", o.run)
	cmd.Example = "  dq tail T1 -f\n  dq tail T1 -n 100 --key eu --json"
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "keep printing what is produced, until Ctrl-C")
	cmd.Flags().IntVarP(&o.lines, "lines", "n", 10, "how many of the last messages to print")
	addSelectionFlags(cmd, &o.what, sdk.Start{})
	return cmd
}

func (o *tailing) run(cmd *cobra.Command, topic *sdk.Topic) error {
	ctx, what := cmd.Context(), o.what
	var last []sdk.Record
	if !cmd.Flags().Changed("from") {
		var err error
		if last, what.From, err = lastOf(ctx, topic, o.lines, what.Key); err != nil {
			return err
		}
	}

	rest := topic.Records(ctx, what)
	if o.follow {
		rest = topic.Stream(ctx, what)
	}
	err := o.output(cmd).records(concat(each(last), rest))

	interrupted := ctx.Err() != nil && errors.Is(err, context.Cause(ctx))
	if o.follow && interrupted {
		return nil
	}
	return err
}

// lastOf returns the last n messages of a topic that have the key, if it is not empty, and the start after them. It
// reads from further and further back until it has found enough: sequences can be missing, and messages can have other
// keys.
func lastOf(
	ctx context.Context, topic *sdk.Topic, n int, key string,
) (last []sdk.Record, next sdk.Start, err error) {
	info, err := topic.Describe(ctx)
	if err != nil {
		return nil, next, err
	}
	first, end := info.FirstSequence, info.LastSequence
	next = sdk.AtSequence(end + 1)
	if n <= 0 {
		return nil, next, nil
	}

	for window := uint64(n); ; window *= 8 {
		from := first
		if window < end && end-window+1 > first {
			from = end - window + 1
		}
		last, err := lastBetween(ctx, topic, sdk.Selection{From: sdk.AtSequence(from), Key: key}, end, n)
		if err != nil || len(last) == n || from == first {
			return last, next, err
		}
	}
}

// lastBetween returns the last n messages of a selection whose sequences are at most end.
func lastBetween(
	ctx context.Context, topic *sdk.Topic, what sdk.Selection, end uint64, n int,
) (last []sdk.Record, err error) {
	for r, err := range topic.Records(ctx, what) {
		if err != nil {
			return nil, err
		}
		if r.Sequence > end {
			break
		}
		if last = append(last, r); len(last) > n {
			last = slices.Delete(last, 0, 1)
		}
	}
	return last, nil
}
