package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dq/sdk"
)

// production holds the flags of dq produce.
type production struct {
	*client
	batch batchFlags
	id    int64
}

func produceCommand(c *client) *cobra.Command {
	p := &production{client: c}
	cmd := &cobra.Command{
		Use:   "produce TOPIC [MESSAGE...]",
		Short: "Append messages to a topic",
		Long: "Append each MESSAGE to a topic or, if there is none, each line of the standard input. The topic is\n" +
			"created if it does not exist. Lines of the standard input, and messages with any of the flags below\n" +
			"except --id, are sent in batches. Other messages are produced one by one with the classic API: as\n" +
			"producer --id or, without it, as a new producer.",
		Example: "  dq produce T1 hello world\n" +
			"  tail -f app.log | dq produce T1\n" +
			"  dq produce T1 --key eu --delay 10m later",
		Args: cobra.MinimumNArgs(1),
		RunE: c.connect(p.run),
	}
	cmd.Flags().Int64Var(&p.id, "id", 0, "produce as this producer")
	p.batch.add(cmd.Flags())
	return cmd
}

func (p *production) run(cmd *cobra.Command, api *sdk.Client, args []string) error {
	topic, fromInput := args[0], len(args) == 1
	messages := each(args[1:])
	if fromInput {
		messages = linesOf(cmd.InOrStdin())
	}

	byID := cmd.Flags().Changed("id")
	batched := slices.ContainsFunc(batchFlagNames, cmd.Flags().Changed)
	switch {
	case byID && batched:
		return &usageError{errors.New("--id is for the classic API, which has none of the other flags")}
	case batched, fromInput && !byID:
		return p.produceBatches(cmd, api.Topic(topic), messages)
	}

	return p.produceEach(cmd, api, topic, messages)
}

// produceEach sends messages one by one with the classic API, until the first one that is not stored.
func (p *production) produceEach(
	cmd *cobra.Command, api *sdk.Client, topic string, messages iter.Seq2[string, error],
) error {
	ctx, id := cmd.Context(), p.id
	if !cmd.Flags().Changed("id") {
		var err error
		if id, err = api.RegisterProducer(ctx, topic); err != nil {
			return err
		}
	}

	sent := 0
	for message, err := range messages {
		if err == nil {
			err = api.Produce(ctx, topic, id, message)
		}
		if err != nil {
			return fmt.Errorf("after %d messages: %w", sent, err)
		}
		sent++
	}

	if p.json {
		return p.output(cmd).object(map[string]any{"produced": sent, "producer": id})
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "produced %d messages to %s as producer %d\n", sent, topic, id)
	return nil
}

// linesOf yields the lines of input. The last one need not be terminated.
func linesOf(input io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		lines := bufio.NewReader(input)
		for {
			line, err := lines.ReadString('\n')
			switch {
			case line == "" && errors.Is(err, io.EOF):
				return
			case err != nil && !errors.Is(err, io.EOF):
				yield("", err)
				return
			}

			if !yield(strings.TrimSuffix(line, "\n"), nil) {
				return
			}
		}
	}
}
