package cli

import (
	"os"

	"github.com/spf13/cobra"

	"dq/cmd/dq/broker"
	"dq/sdk"
)

// commandRetries is how often a command repeats a failed call: not often, because somebody is waiting.
const commandRetries = 2

// client says which broker a command talks to, and how it prints the answers.
type client struct {
	broker string
	token  string
	json   bool
}

// addFlags defines the flags of the commands that talk to a broker.
func (c *client) addFlags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.broker, "broker", defaultBroker(),
		"broker to talk to, HOST:PORT or URL ($"+broker.BrokerVariable+")")
	// The variable is read later: the help shows the default of a flag, and must not show a token.
	flags.StringVar(&c.token, "token", "", "token to show to the broker ($"+broker.TokenVariable+")")
	c.addJSONFlag(cmd)
}

func (c *client) addJSONFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().BoolVar(&c.json, "json", false, "print JSON objects, one per line")
}

// defaultBroker returns the broker that the environment names or, without one, that of this machine.
func defaultBroker() string {
	if address := os.Getenv(broker.BrokerVariable); address != "" {
		return address
	}
	return "127.0.0.1:5000"
}

// credential returns the token of the command line or, without one, that of the environment.
func (c *client) credential() string {
	if c.token != "" {
		return c.token
	}
	return os.Getenv(broker.TokenVariable)
}

// connect returns the function that cobra runs for a command which talks to the broker: it calls do with a client.
func (c *client) connect(
	do func(cmd *cobra.Command, api *sdk.Client, args []string) error,
) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		api, err := sdk.New(c.broker, sdk.WithRetries(commandRetries), sdk.WithToken(c.credential()))
		if err != nil {
			return &usageError{err}
		}
		defer api.Close()
		return do(cmd, api, args)
	}
}
