package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func topicCommand(c *client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topic",
		Short: "Create, describe, change, purge, delete and list topics",
	}
	cmd.AddCommand(
		createTopicCommand(c), changeTopicCommand(c), purgeCommand(c),
		listTopicsCommand(c), describeTopicCommand(c), deleteTopicCommand(c),
	)
	return cmd
}

// onTopic returns a command that works on one topic, its only argument.
func (c *client) onTopic(
	use, short string, do func(cmd *cobra.Command, topic *sdk.Topic) error,
) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: c.connect(func(cmd *cobra.Command, api *sdk.Client, args []string) error {
			return do(cmd, api.Topic(args[0]))
		}),
	}
}

func createTopicCommand(c *client) *cobra.Command {
	var settings sdk.PartialSettings
	var ifNotExists bool
	cmd := c.onTopic("create TOPIC", "Create a topic", func(cmd *cobra.Command, topic *sdk.Topic) error {
		info, created, err := topic.Create(cmd.Context(), settings)
		switch {
		case err != nil:
			return err
		case !created && !ifNotExists:
			return &sdk.Error{
				Code:    sdk.ErrTopicExists.Code,
				Message: fmt.Sprintf("Topic:%s already exist", topic.Name()), // as the classic API says it
			}
		case c.json:
			return c.output(cmd).object(info)
		}
		return nil
	})

	cmd.Example = "  dq topic create T1\n  dq topic create jobs --max-messages 100000 --when-full refuse_new"
	addSettingFlags(cmd.Flags(), &settings)
	cmd.Flags().BoolVar(&ifNotExists, "if-not-exists", false, "succeed if the topic exists and has the given settings")
	return cmd
}

func changeTopicCommand(c *client) *cobra.Command {
	var settings sdk.PartialSettings
	cmd := c.onTopic("change TOPIC", "Change settings of a topic, and print it",
		func(cmd *cobra.Command, topic *sdk.Topic) error {
			info, err := topic.Change(cmd.Context(), settings)
			if err != nil {
				return err
			}
			return c.output(cmd).object(info)
		})
	cmd.Example = "  dq topic change T1 --max-age 24h"
	addSettingFlags(cmd.Flags(), &settings)
	return cmd
}

func purgeCommand(c *client) *cobra.Command {
	var upTo uint64
	cmd := c.onTopic("purge TOPIC", "Remove the messages of a topic",
		func(cmd *cobra.Command, topic *sdk.Topic) error {
			purged, err := topic.Purge(cmd.Context(), upTo)
			if err != nil {
				return err
			}
			return c.output(cmd).line(map[string]any{"purged": purged}, fmt.Sprintf("purged %d messages", purged))
		})
	cmd.Flags().Uint64Var(&upTo, "up-to", 0, "the last sequence to remove; 0 removes all")
	return cmd
}

func listTopicsCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "list [PREFIX]",
		Short: "List the topics whose names start with PREFIX, by name",
		Args:  cobra.MaximumNArgs(1),
		RunE: c.connect(func(cmd *cobra.Command, api *sdk.Client, args []string) error {
			prefix := ""
			if len(args) > 0 {
				prefix = args[0]
			}
			return list(c.output(cmd), api.ListTopics(cmd.Context(), prefix),
				"name", "messages", "bytes", "first_sequence", "last_sequence", "last_time")
		}),
	}
}

func describeTopicCommand(c *client) *cobra.Command {
	return c.onTopic("describe TOPIC", "Print the settings and the state of a topic",
		func(cmd *cobra.Command, topic *sdk.Topic) error {
			info, err := topic.Describe(cmd.Context())
			if err != nil {
				return err
			}
			return c.output(cmd).object(info)
		})
}

func deleteTopicCommand(c *client) *cobra.Command {
	return c.onTopic("delete TOPIC", "Delete a topic, its messages, its consumers and its producers",
		func(cmd *cobra.Command, topic *sdk.Topic) error { return topic.Delete(cmd.Context()) })
}
