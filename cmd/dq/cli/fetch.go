package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"dq/sdk"
)

// fetching holds the flags of dq fetch.
type fetching struct {
	*client
	limits sdk.Limits
	ack    bool
	tokens []string // to acknowledge first
}

func fetchCommand(c *client) *cobra.Command {
	o := &fetching{client: c}
	cmd := c.onConsumer("fetch TOPIC CONSUMER", "Print the next messages of a consumer", cobra.ExactArgs(2), o.run)
	cmd.Long = "Print the next messages of a consumer; the exit status is 4 if there is none. In mode lease they\n" +
		"are to be acknowledged with their tokens; a message that is not is redelivered when its lease ends."
	cmd.Example = "  dq fetch orders billing --limit 10 --wait 20s --ack\n" +
		"  dq fetch orders billing --ack-token 0-0-1-1-1-1-1-1"

	cmd.Flags().IntVar(&o.limits.Messages, "limit", 1, "most messages to print")
	cmd.Flags().DurationVar(&o.limits.Wait, "wait", 0, "longest time to wait for a message, at most 60s")
	cmd.Flags().BoolVar(&o.ack, "ack", false, "acknowledge the messages when they are printed")
	cmd.Flags().StringSliceVar(&o.tokens, "ack-token", nil,
		"tokens of messages to acknowledge first, in the same call")
	return cmd
}

func (o *fetching) run(cmd *cobra.Command, s *sdk.Subscription, _ []string) error {
	records, lost, err := s.AckAndFetch(cmd.Context(), o.limits, o.tokens...)
	if err != nil {
		return err
	}
	if err := o.output(cmd).records(each(records)); err != nil {
		return err
	}

	switch {
	case len(lost) > 0:
		const text = "these tokens hold no lease: %s; the other messages are acknowledged"
		return &sdk.Error{
			Code: sdk.ErrLeaseLost.Code, Message: fmt.Sprintf(text, strings.Join(lost, ", ")), Tokens: lost,
		}
	case len(records) == 0:
		return &sdk.Error{Code: sdk.ErrEmpty.Code, Message: "there is no message"}
	case !o.ack || records[0].Token == "":
		return nil
	}
	tokens := make([]string, len(records))
	for i, r := range records {
		tokens[i] = r.Token
	}
	return s.Ack(cmd.Context(), tokens...)
}
