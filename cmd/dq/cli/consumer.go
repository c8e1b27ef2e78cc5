package cli

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func consumerCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "consumer",
		Short: "Create, describe, list, delete, seek, pause and resume consumers",
	}
	cmd.AddCommand(
		createConsumerCommand(c), seekCommand(c),
		topicAction(c, "list TOPIC", "List the consumers of a topic, by id", func(cmd *cobra.Command, topic *sdk.Topic) error {
			return list(c.output(cmd), topic.Consumers(cmd.Context()), "id", "name", "mode", "key", "position", "lag", "in_flight", "size", "paused_until")
		}),
		consumerControl(c, "describe TOPIC CONSUMER", "Print the settings of a consumer, and how far it is",
			func(cmd *cobra.Command, s *sdk.Subscription, _ string) (sdk.ConsumerInfo, error) {
				return s.Describe(cmd.Context())
			}),
		consumerControl(c, "pause TOPIC CONSUMER DURATION", "Keep a consumer from getting messages for a time, such as 10m",
			func(cmd *cobra.Command, s *sdk.Subscription, text string) (info sdk.ConsumerInfo, err error) {
				pause, err := time.ParseDuration(text)
				if err != nil {
					return info, &usageError{err}
				}
				return s.Pause(cmd.Context(), pause)
			}),
		consumerControl(c, "resume TOPIC CONSUMER", "End a pause",
			func(cmd *cobra.Command, s *sdk.Subscription, _ string) (sdk.ConsumerInfo, error) {
				return s.Resume(cmd.Context())
			}),
		consumerAction(c, "delete TOPIC CONSUMER", "Delete a consumer", 2, func(cmd *cobra.Command, s *sdk.Subscription, _ []string) error {
			return s.Delete(cmd.Context())
		}),
	)
	return cmd
}

// seekCommand is there twice: it is also the shortcut "dq seek".
func seekCommand(c *client) *cobra.Command {
	return consumerControl(c, "seek TOPIC CONSUMER START", "Move a consumer to first, new, a sequence, or a time; its leases end",
		func(cmd *cobra.Command, s *sdk.Subscription, text string) (info sdk.ConsumerInfo, err error) {
			start, err := sdk.ParseStart(text)
			if err != nil {
				return info, &usageError{err}
			}
			return s.Seek(cmd.Context(), start)
		})
}

// consumerAction is a command that does something with one consumer, whose
// arguments are at least the topic and the consumer. Do gets those behind them.
func consumerAction(c *client, use, short string, args int, do func(*cobra.Command, *sdk.Subscription, []string) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.MinimumNArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			defer api.Close()
			return do(cmd, api.Topic(args[0]).Subscription(args[1]), args[2:])
		},
	}
}

// consumerControl is a consumerAction that prints the consumer, with one more
// argument if its use says so.
func consumerControl(c *client, use, short string, do func(cmd *cobra.Command, s *sdk.Subscription, arg string) (sdk.ConsumerInfo, error)) *cobra.Command {
	n := len(strings.Fields(use)) - 1
	cmd := consumerAction(c, use, short, n, func(cmd *cobra.Command, s *sdk.Subscription, rest []string) error {
		info, err := do(cmd, s, append(rest, "")[0])
		if err != nil {
			return err
		}
		return c.output(cmd).object(info)
	})
	cmd.Args = cobra.ExactArgs(n)
	return cmd
}

func createConsumerCommand(c *client) *cobra.Command {
	var spec sdk.ConsumerSpec
	cmd := topicAction(c, "create TOPIC", "Register a consumer, and print its name or id", func(cmd *cobra.Command, topic *sdk.Topic) error {
		s, err := topic.Subscribe(cmd.Context(), spec)
		if err != nil {
			return err
		}
		if !c.json {
			label := spec.Name
			if label == "" {
				label = s.Label()
			}
			return c.output(cmd).line(nil, label)
		}
		info, err := s.Describe(cmd.Context())
		if err != nil {
			return err
		}
		return c.output(cmd).object(info)
	})
	cmd.Example = "  dq consumer create orders --name billing --mode lease --start first --max-deliveries 5 --dead-letter-topic failed"
	flags := cmd.Flags()
	flags.StringVar(&spec.Name, "name", "", "take the consumer of that name if it is there")
	flags.TextVar(&spec.Start, "start", sdk.AtNew, "where to start: first, new, a sequence, or a time")
	flags.StringVar(&spec.Key, "key", "", "only messages with that key")
	flags.StringVar((*string)(&spec.Mode), "mode", "", "auto: consumed when answered; lease: when acknowledged")
	flags.DurationVar(&spec.Lease, "lease", 0, "mode lease: how long a message is handed out for (default 30s)")
	flags.IntVar(&spec.MaxInFlight, "max-in-flight", 0, "mode lease: how many may be handed out and not acknowledged (default 1000)")
	flags.IntVar(&spec.MaxDeliveries, "max-deliveries", 0, "mode lease: after so many a message goes to the dead-letter topic; 0 is never")
	flags.StringVar(&spec.DeadLetterTopic, "dead-letter-topic", "", "mode lease: where it goes")
	return cmd
}
