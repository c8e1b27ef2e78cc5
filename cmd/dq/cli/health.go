package cli

import (
	"github.com/spf13/cobra"

	"dq/sdk"
)

func healthCommand(c *client) *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Succeed if the broker is ready to work",
		Long: "Succeed if the broker is ready to work. While its disk is full it is ready, and says that it takes no " +
			"new data.",
		Args: cobra.NoArgs,
		RunE: c.connect(func(cmd *cobra.Command, api *sdk.Client, _ []string) error {
			ready, err := api.Readiness(cmd.Context())
			if err != nil {
				return err
			}

			if c.json {
				answer := map[string]any{"ready": true, "accepts_data": ready.AcceptsData}
				if ready.DamagedTopics > 0 {
					answer["damaged_topics"] = ready.DamagedTopics
				}
				return c.output(cmd).object(answer)
			}
			if !ready.AcceptsData {
				cmd.PrintErrln(ready.Message)
			}
			if ready.DamagedTopics > 0 {
				cmd.PrintErrf("%d topics are damaged and not served\n", ready.DamagedTopics)
			}
			for _, topic := range ready.Damaged {
				for _, f := range topic.Files {
					cmd.PrintErrf("%s: %s: %s\n", topic.Topic, f.File, f.Problem)
				}
			}
			return nil
		}),
	}
}
