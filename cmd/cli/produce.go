package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func produceCommand(c *client) *cobra.Command {
	id := int64(-1)
	cmd := &cobra.Command{
		Use:   "produce TOPIC [MESSAGE...]",
		Short: "Append messages to a topic",
		Long: "Append each MESSAGE to a topic or, if there is none, each line of the standard input.\n" +
			"Without --id it registers a new producer, which makes the topic if it is not there.",
		Example: "  dq produce T1 hello world\n  tail -f app.log | dq produce T1",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			ctx, topic := cmd.Context(), args[0]
			if id < 0 {
				if id, err = api.RegisterProducer(ctx, topic); err != nil {
					return err
				}
			}
			sent, err := produceAll(ctx, api, topic, id, args[1:], cmd.InOrStdin())
			if err != nil {
				return fmt.Errorf("after %d messages: %w", sent, err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "produced %d messages to %s as producer %d\n", sent, topic, id)
			return nil
		},
	}
	cmd.Flags().Int64Var(&id, "id", id, "produce as this producer")
	return cmd
}

// produceAll produces messages, or the lines of input if there are none, and
// returns how many the broker confirmed.
func produceAll(ctx context.Context, api *sdk.Client, topic string, id int64, messages []string, input io.Reader) (sent int, err error) {
	for _, message := range messages {
		if err := api.Produce(ctx, topic, id, message); err != nil {
			return sent, err
		}
		sent++
	}
	if len(messages) > 0 {
		return sent, nil
	}
	lines := bufio.NewReader(input)
	for {
		line, err := lines.ReadString('\n')
		if line == "" && err == io.EOF {
			return sent, nil
		}
		if err != nil && err != io.EOF {
			return sent, err
		}
		if err := api.Produce(ctx, topic, id, strings.TrimSuffix(line, "\n")); err != nil {
			return sent, err
		}
		sent++
	}
}
