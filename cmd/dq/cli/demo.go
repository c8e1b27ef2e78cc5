package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"dq/cmd/dq/broker"
	"dq/scenarios"
	"dq/sdk"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Start a broker, move 4,965 log lines through it, check them, and keep it running",
		Long: "Start a broker on a free port with its files in a temporary directory, run the scenario\n" +
			"5P3C against it over HTTP, print the checked result, and keep the broker running until Ctrl-C.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo(cmd) },
	}
}

func demo(cmd *cobra.Command) (err error) {
	dir, err := os.MkdirTemp("", "dq-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	cfg, err := demoConfig(filepath.Join(dir, "data"))
	if err != nil {
		return &usageError{err}
	}
	b, err := broker.Start(cmd.Context(), cfg, broker.NewLogger(cmd.ErrOrStderr(), cfg))
	if err != nil {
		return err
	}
	defer func() { _ = b.Stop(context.Background()) }()
	fmt.Fprintf(cmd.ErrOrStderr(), "a broker runs at %s\n", b.URL())

	plan, err := scenarios.FindPlan("5P3C")
	if err != nil {
		return err
	}
	scenario := &scenarioRun{plan: plan, broker: b.URL(), dir: filepath.Join(dir, "logs")}
	if err := scenario.run(cmd, output{w: cmd.OutOrStdout()}); err != nil {
		return err
	}

	if err := invite(cmd, b.URL()); err != nil {
		return err
	}
	<-cmd.Context().Done()
	return b.Stop(context.Background())
}

// demoConfig returns the settings of a broker that only the demo calls. It ignores settings of the environment that
// concern other brokers and their users: tokens and certificates, which the demo does not have, ports, and the NATS
// servers.
func demoConfig(dir string) (broker.Config, error) {
	cfg, _, err := broker.LoadConfig()
	cfg.Addr, cfg.Open = "127.0.0.1:0", false
	cfg.DataDir, cfg.LogLevel = dir, slog.LevelWarn

	cfg.Tokens, cfg.AuditLog = "", ""
	cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA = "", "", ""
	cfg.NatsURL, cfg.NATSAddr, cfg.Replicas = "", "", 1
	return cfg, err
}

// invite prints calls to try on the broker, with ids that it registers for them.
func invite(cmd *cobra.Command, url string) error {
	const topic = "hello"
	api, err := sdk.New(url)
	if err != nil {
		return err
	}
	defer api.Close()

	producer, err := api.RegisterProducer(cmd.Context(), topic)
	if err != nil {
		return err
	}
	consumer, err := api.RegisterConsumer(cmd.Context(), topic)
	if err != nil {
		return err
	}

	_, err = fmt.Fprintf(cmd.OutOrStdout(), `
The broker runs until Ctrl-C. Try it from another terminal:

  curl %[1]s/producer/produce -d '{"topic":"%[2]s","producer_id":%[3]d,"message":"hi"}'
  curl '%[1]s/consumer/consume?topic=%[2]s&consumer_id=%[4]d'

`, url, topic, producer, consumer)
	return err
}
