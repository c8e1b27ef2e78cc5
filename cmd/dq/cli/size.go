package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"dq/sdk"
)

func sizeCommand(c *client) *cobra.Command {
	var id int64
	cmd := &cobra.Command{
		Use:   "size TOPIC --id ID",
		Short: "Print how many messages a consumer has not consumed yet",
		Args:  cobra.ExactArgs(1),
		RunE: c.connect(func(cmd *cobra.Command, api *sdk.Client, args []string) error {
			size, err := api.Size(cmd.Context(), args[0], id)
			if err != nil {
				return err
			}
			return c.output(cmd).line(map[string]any{"size": size}, fmt.Sprint(size))
		}),
	}
	cmd.Flags().Int64Var(&id, "id", 0, "the consumer's id")
	_ = cmd.MarkFlagRequired("id")
	return cmd
}
