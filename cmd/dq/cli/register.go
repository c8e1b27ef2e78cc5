package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func registerCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:       "register producer|consumer TOPIC",
		Short:     "Get a new id and print it",
		Long:      "Get a new id and print it. Registering a producer makes the topic if it is not there.\nA consumer sees what is produced after it was registered.",
		ValidArgs: []string{"producer", "consumer"},
		Args:      cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := c.connect()
			if err != nil {
				return err
			}
			var id int64
			switch args[0] {
			case "producer":
				id, err = api.RegisterProducer(cmd.Context(), args[1])
			case "consumer":
				id, err = api.RegisterConsumer(cmd.Context(), args[1])
			default:
				return &usageError{fmt.Errorf("register %q: want producer or consumer", args[0])}
			}
			if err != nil {
				return err
			}
			return c.output(cmd).line(map[string]any{"id": id}, fmt.Sprint(id))
		},
	}
}
