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
		createTopicCommand(c), changeTopicCommand(c), purgeCommand(c), listTopicsCommand(c),
		topicAction(c, "describe TOPIC", "Print the settings and the state of a topic", func(cmd *cobra.Command, topic *sdk.Topic) error {
			info, err := topic.Describe(cmd.Context())
			if err != nil {
				return err
			}
			return c.output(cmd).object(info)
		}),
		topicAction(c, "delete TOPIC", "Delete a topic, its messages, its consumers and its producers", func(cmd *cobra.Command, topic *sdk.Topic) error {
			return topic.Delete(cmd.Context())
		}),
	)
	return cmd
}

// topicAction is a command that does something with one topic.
func topicAction(c *client, use, short string, do func(*cobra.Command, *sdk.Topic) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			defer api.Close()
			return do(cmd, api.Topic(args[0]))
		},
	}
}

func createTopicCommand(c *client) *cobra.Command {
	var settings sdk.PartialSettings
	var ifNotExists bool
	cmd := topicAction(c, "create TOPIC", "Make a topic", func(cmd *cobra.Command, topic *sdk.Topic) error {
		info, created, err := topic.Create(cmd.Context(), settings)
		switch {
		case err != nil:
			return err
		case !created && !ifNotExists:
			return &sdk.Error{Code: sdk.ErrTopicExists.Code, Message: fmt.Sprintf("Topic:%s already exist", topic.Name())}
		case c.json:
			return c.output(cmd).object(info)
		}
		return nil
	})
	cmd.Example = "  dq topic create T1\n  dq topic create jobs --max-messages 100000 --when-full refuse_new"
	settingFlags(cmd.Flags(), &settings)
	cmd.Flags().BoolVar(&ifNotExists, "if-not-exists", false, "succeed if it is there and has the settings that are given")
	return cmd
}

func changeTopicCommand(c *client) *cobra.Command {
	var settings sdk.PartialSettings
	cmd := topicAction(c, "change TOPIC", "Change settings of a topic, and print it", func(cmd *cobra.Command, topic *sdk.Topic) error {
		info, err := topic.Change(cmd.Context(), settings)
		if err != nil {
			return err
		}
		return c.output(cmd).object(info)
	})
	cmd.Example = "  dq topic change T1 --max-age 24h"
	settingFlags(cmd.Flags(), &settings)
	return cmd
}

func purgeCommand(c *client) *cobra.Command {
	var upTo uint64
	cmd := topicAction(c, "purge TOPIC", "Remove the messages of a topic", func(cmd *cobra.Command, topic *sdk.Topic) error {
		purged, err := topic.Purge(cmd.Context(), upTo)
		if err != nil {
			return err
		}
		return c.output(cmd).line(map[string]any{"purged": purged}, fmt.Sprintf("purged %d messages", purged))
	})
	cmd.Flags().Uint64Var(&upTo, "up-to", 0, "the last sequence to remove; 0 is all")
	return cmd
}

func listTopicsCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "list [PREFIX]",
		Short: "List the topics whose names start with PREFIX, by name",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			defer api.Close()
			topics := api.ListTopics(cmd.Context(), append(args, "")[0])
			return list(c.output(cmd), topics, "name", "messages", "bytes", "first_sequence", "last_sequence", "last_time")
		},
	}
}
