package cli

import (
	"cmp"
	"fmt"
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
		createConsumerCommand(c), seekCommand(c), listConsumersCommand(c), describeConsumerCommand(c),
		pauseCommand(c), resumeCommand(c), deleteConsumerCommand(c),
	)
	return cmd
}

// onConsumer returns a command that works on one consumer. Its first two arguments are the topic and the
// consumer; do gets the rest.
func (c *client) onConsumer(
	use, short string, args cobra.PositionalArgs,
	do func(cmd *cobra.Command, s *sdk.Subscription, rest []string) error,
) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  args,
		RunE: c.connect(func(cmd *cobra.Command, api *sdk.Client, args []string) error {
			return do(cmd, api.Topic(args[0]).Subscription(args[1]), args[2:])
		}),
	}
}

// showConsumer returns a command like [client.onConsumer] that prints the consumer at the end.
func (c *client) showConsumer(
	use, short string, args cobra.PositionalArgs,
	do func(cmd *cobra.Command, s *sdk.Subscription, rest []string) (sdk.ConsumerInfo, error),
) *cobra.Command {
	return c.onConsumer(use, short, args, func(cmd *cobra.Command, s *sdk.Subscription, rest []string) error {
		info, err := do(cmd, s, rest)
		if err != nil {
			return err
		}
		return c.output(cmd).object(info)
	})
}

func createConsumerCommand(c *client) *cobra.Command {
	var spec sdk.ConsumerSpec
	cmd := c.onTopic("create TOPIC", "Register a consumer, and print its name or id",
		func(cmd *cobra.Command, topic *sdk.Topic) error {
			return createConsumer(cmd, c.output(cmd), topic, spec)
		})
	cmd.Example = "  dq consumer create orders --name billing --mode lease --start first" +
		" --max-deliveries 5 --dead-letter-topic failed"

	flags := cmd.Flags()
	flags.StringVar(&spec.Name, "name", "", "use the consumer of that name if it exists")
	flags.TextVar(&spec.Start, "start", sdk.AtNew, "where to start: first, new, a sequence, or a time")
	flags.StringVar(&spec.Key, "key", "", "only messages with that key")
	flags.StringVar((*string)(&spec.Mode), "mode", "", "auto: consumed when delivered; lease: when acknowledged")
	flags.DurationVar(&spec.Lease, "lease", 0, "mode lease: time to acknowledge a message (default 30s)")
	flags.IntVar(&spec.MaxInFlight, "max-in-flight", 0,
		"mode lease: most messages that are leased at the same time (default 1000)")
	flags.IntVar(&spec.MaxDeliveries, "max-deliveries", 0,
		"mode lease: deliveries after which a message goes to the dead-letter topic; 0 is no limit")
	flags.StringVar(&spec.DeadLetterTopic, "dead-letter-topic", "", "mode lease: the dead-letter topic")
	return cmd
}

func createConsumer(cmd *cobra.Command, out output, topic *sdk.Topic, spec sdk.ConsumerSpec) error {
	s, err := topic.Subscribe(cmd.Context(), spec)
	if err != nil {
		return err
	}
	if !out.json {
		_, err := fmt.Fprintln(out.w, cmp.Or(spec.Name, s.Label()))
		return err
	}

	info, err := s.Describe(cmd.Context())
	if err != nil {
		return err
	}
	return out.object(info)
}

func listConsumersCommand(c *client) *cobra.Command {
	return c.onTopic("list TOPIC", "List the consumers of a topic, by id",
		func(cmd *cobra.Command, topic *sdk.Topic) error {
			return list(c.output(cmd), topic.Consumers(cmd.Context()),
				"id", "name", "mode", "key", "position", "lag", "in_flight", "size", "dropped_unread",
				"paused_until")
		})
}

func describeConsumerCommand(c *client) *cobra.Command {
	return c.showConsumer("describe TOPIC CONSUMER", "Print the settings and the state of a consumer",
		cobra.ExactArgs(2),
		func(cmd *cobra.Command, s *sdk.Subscription, _ []string) (sdk.ConsumerInfo, error) {
			return s.Describe(cmd.Context())
		})
}

func pauseCommand(c *client) *cobra.Command {
	return c.showConsumer("pause TOPIC CONSUMER DURATION",
		"Deliver no messages to a consumer for a time, such as 10m", cobra.ExactArgs(3),
		func(cmd *cobra.Command, s *sdk.Subscription, args []string) (info sdk.ConsumerInfo, err error) {
			pause, err := time.ParseDuration(args[0])
			if err != nil {
				return info, &usageError{err}
			}
			return s.Pause(cmd.Context(), pause)
		})
}

func resumeCommand(c *client) *cobra.Command {
	return c.showConsumer("resume TOPIC CONSUMER", "End a pause", cobra.ExactArgs(2),
		func(cmd *cobra.Command, s *sdk.Subscription, _ []string) (sdk.ConsumerInfo, error) {
			return s.Resume(cmd.Context())
		})
}

func deleteConsumerCommand(c *client) *cobra.Command {
	return c.onConsumer("delete TOPIC CONSUMER", "Delete a consumer", cobra.ExactArgs(2),
		func(cmd *cobra.Command, s *sdk.Subscription, _ []string) error { return s.Delete(cmd.Context()) })
}
