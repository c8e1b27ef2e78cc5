package cli

import (
	"github.com/spf13/cobra"

	"dq/sdk"
)

// fetching holds the flags of dq fetch.
type fetching struct {
	*client
	limits sdk.Limits
	ack    bool
}

func fetchCommand(c *client) *cobra.Command {
	o := &fetching{client: c}
	cmd := c.onConsumer("fetch TOPIC CONSUMER", "Print the next messages of a consumer", cobra.ExactArgs(2), o.run)
	cmd.Long = "Print the next messages of a consumer; the exit status is 4 if there is none. In mode lease they\n" +
		"are to be acknowledged with their tokens; a message that is not is redelivered when its lease ends."
	cmd.Example = "  dq fetch orders billing --limit 10 --wait 20s --ack"

	cmd.Flags().IntVar(&o.limits.Messages, "limit", 1, "most messages to print")
	cmd.Flags().DurationVar(&o.limits.Wait, "wait", 0, "longest time to wait for a message, at most 60s")
	cmd.Flags().BoolVar(&o.ack, "ack", false, "acknowledge the messages when they are printed")
	return cmd
}

func (o *fetching) run(cmd *cobra.Command, s *sdk.Subscription, _ []string) error {
	records, err := s.Fetch(cmd.Context(), o.limits)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return &sdk.Error{Code: sdk.ErrEmpty.Code, Message: "there is no message"}
	}

	if err := o.output(cmd).records(each(records)); err != nil {
		return err
	}

	leased := records[0].Token != ""
	if !o.ack || !leased {
		return nil
	}
	tokens := make([]string, len(records))
	for i, r := range records {
		tokens[i] = r.Token
	}
	return s.Ack(cmd.Context(), tokens...)
}
