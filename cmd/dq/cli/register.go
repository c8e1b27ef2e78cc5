package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func registerCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "register producer|consumer TOPIC",
		Short: "Register a producer or a consumer, and print its id",
		Long: "Register a producer or a consumer, and print its id. Registering a producer creates the topic if it\n" +
			"does not exist. A consumer gets what is produced after its registration.",
		ValidArgs: []string{"producer", "consumer"},
		Args:      cobra.ExactArgs(2),
		RunE: c.connect(func(cmd *cobra.Command, api *sdk.Client, args []string) error {
			id, err := register(cmd, api, args[0], args[1])
			if err != nil {
				return err
			}
			return c.output(cmd).line(map[string]any{"id": id}, fmt.Sprint(id))
		}),
	}
}

func register(cmd *cobra.Command, api *sdk.Client, kind, topic string) (id int64, err error) {
	switch kind {
	case "producer":
		return api.RegisterProducer(cmd.Context(), topic)
	case "consumer":
		return api.RegisterConsumer(cmd.Context(), topic)
	}
	return 0, &usageError{fmt.Errorf("register %q: want producer or consumer", kind)}
}
