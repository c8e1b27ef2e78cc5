package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func produceCommand(c *client) *cobra.Command {
	id := int64(-1)
	var batch batchOptions
	cmd := &cobra.Command{
		Use:   "produce TOPIC [MESSAGE...]",
		Short: "Append messages to a topic",
		Long: "Append each MESSAGE to a topic or, if there is none, each line of the standard input. The topic\n" +
			"is made if it is not there. Lines of the standard input, and messages with any of the flags\n" +
			"below but --id, are sent in batches. The others are produced one by one with the classic API:\n" +
			"as producer --id or, without, as a new one.",
		Example: "  dq produce T1 hello world\n  tail -f app.log | dq produce T1\n  dq produce T1 --key eu --delay 10m later",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			defer api.Close()
			messages := wordsOf(args[1:])
			if len(args) == 1 {
				messages = linesOf(cmd.InOrStdin())
			}
			modern := len(args) == 1 && id < 0
			for _, name := range batchFlags {
				modern = modern || cmd.Flags().Changed(name)
			}
			switch {
			case modern && id >= 0:
				return &usageError{errors.New("--id is for the classic API, which has none of the other flags")}
			case modern:
				return batch.produce(cmd, c, api.Topic(args[0]), messages)
			}
			return produceClassic(cmd, c, api, args[0], id, messages)
		},
	}
	cmd.Flags().Int64Var(&id, "id", id, "produce as this producer")
	batch.define(cmd.Flags())
	return cmd
}

func produceClassic(cmd *cobra.Command, c *client, api *sdk.Client, topic string, id int64, messages iter.Seq2[string, error]) (err error) {
	ctx := cmd.Context()
	if id < 0 {
		if id, err = api.RegisterProducer(ctx, topic); err != nil {
			return err
		}
	}
	sent, err := produceAll(ctx, api, topic, id, messages)
	if err != nil {
		return fmt.Errorf("after %d messages: %w", sent, err)
	}
	if c.json {
		return c.output(cmd).object(map[string]any{"produced": sent, "producer": id})
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "produced %d messages to %s as producer %d\n", sent, topic, id)
	return nil
}

// produceAll produces messages and returns how many the broker confirmed.
func produceAll(ctx context.Context, api *sdk.Client, topic string, id int64, messages iter.Seq2[string, error]) (sent int, err error) {
	for message, err := range messages {
		if err == nil {
			err = api.Produce(ctx, topic, id, message)
		}
		if err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

func wordsOf(words []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, word := range words {
			if !yield(word, nil) {
				return
			}
		}
	}
}

// linesOf yields the lines of input. The last need not be terminated.
func linesOf(input io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		lines := bufio.NewReader(input)
		for {
			line, err := lines.ReadString('\n')
			switch {
			case line == "" && err == io.EOF: //nolint:errorlint // readers return it as it is
				return
			case err != nil && err != io.EOF: //nolint:errorlint // likewise
				yield("", err)
				return
			}
			if !yield(strings.TrimSuffix(line, "\n"), nil) {
				return
			}
		}
	}
}
