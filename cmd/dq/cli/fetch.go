package cli

import (
	"github.com/spf13/cobra"

	"dq/sdk"
)

func fetchCommand(c *client) *cobra.Command {
	var limits sdk.Limits
	var ack bool
	cmd := consumerAction(c, "fetch TOPIC CONSUMER", "Print the next messages of a consumer", 2, func(cmd *cobra.Command, s *sdk.Subscription, _ []string) error {
		records, err := s.Fetch(cmd.Context(), limits)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return &sdk.Error{Code: sdk.ErrEmpty.Code, Message: "there is no message"}
		}
		_, err = c.output(cmd).records(func(yield func(sdk.Record, error) bool) {
			for _, r := range records {
				if !yield(r, nil) {
					return
				}
			}
		})
		if err != nil || !ack || records[0].Token == "" {
			return err
		}
		tokens := make([]string, len(records))
		for i, r := range records {
			tokens[i] = r.Token
		}
		return s.Ack(cmd.Context(), tokens...)
	})
	cmd.Long = "Print the next messages of a consumer; the status is 4 if there is none. In mode lease they\n" +
		"are to be acknowledged with their tokens, and come back after the lease if they are not."
	cmd.Example = "  dq fetch orders billing --limit 10 --wait 20s --ack"
	cmd.Args = cobra.ExactArgs(2)
	cmd.Flags().IntVar(&limits.Messages, "limit", 1, "how many messages at most")
	cmd.Flags().DurationVar(&limits.Wait, "wait", 0, "wait so long for one, at most 60s")
	cmd.Flags().BoolVar(&ack, "ack", false, "acknowledge them when they are printed")
	return cmd
}
