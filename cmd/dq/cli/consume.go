package cli

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"dq/sdk"
)

// consumption holds the flags of dq consume.
type consumption struct {
	*client
	id      int64
	count   int
	timeout time.Duration
}

func consumeCommand(c *client) *cobra.Command {
	o := &consumption{client: c}
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Print a consumer's messages, one per line",
		Long: "Print the messages that are left for the consumer --id, one per line, and stop; the\n" +
			"exit status is 4 if there was none. A message that was printed is consumed.\n" +
			"Without --id, register a new consumer and print what is produced from now on.",
		Example: "  dq consume T1\n  id=$(dq register consumer T1); dq consume T1 --id $id --count 10",
		Args:    cobra.ExactArgs(1),
		RunE:    c.connect(o.run),
	}
	cmd.Flags().Int64Var(&o.id, "id", 0, "print what is left for this consumer")
	cmd.Flags().IntVarP(&o.count, "count", "n", 0, "stop after this many messages; 0 is no limit")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0,
		"without --id: stop after this time without a message; 0 is never")
	return cmd
}

func (o *consumption) run(cmd *cobra.Command, api *sdk.Client, args []string) error {
	ctx, topic := cmd.Context(), args[0]
	messages := consumeByID(ctx, api, topic, o.id)
	if !cmd.Flags().Changed("id") {
		consumer, err := sdk.NewConsumer(ctx, api, []string{topic}, sdk.WithIdleTimeout(o.timeout))
		if err != nil {
			return err
		}
		messages = textsOf(consumer.Messages(ctx))
	}

	n := 0
	for message, err := range messages {
		interrupted := err != nil && ctx.Err() != nil
		if interrupted || n > 0 && errors.Is(err, sdk.ErrEmpty) {
			return nil
		}
		if err != nil {
			return err
		}

		if err := o.output(cmd).line(map[string]any{"message": message}, message); err != nil {
			return err
		}
		if n++; n == o.count {
			return nil
		}
	}
	return nil
}

// consumeByID yields the next messages of a consumer. At the end it yields [sdk.ErrEmpty], again and again.
func consumeByID(ctx context.Context, api *sdk.Client, topic string, id int64) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for yield(api.Consume(ctx, topic, id)) {
		}
	}
}

func textsOf(messages iter.Seq2[sdk.Message, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for message, err := range messages {
			if !yield(message.Text, err) {
				return
			}
		}
	}
}
