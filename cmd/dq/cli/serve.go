package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"dq/cmd/dq/broker"
)

func serveCommand() *cobra.Command {
	var table strings.Builder
	_ = broker.Usage(&table) // a Builder takes everything
	return &cobra.Command{
		Use:   "serve",
		Short: "Run a broker",
		Long: "Run a broker until SIGINT or SIGTERM: the HTTP API and the storage engine, in this process.\n" +
			"Without any setting it listens on 127.0.0.1:5000 and keeps its data in ./dq-data.\n\n" +
			"It is configured from the environment. PERSIST also works for DQ_PERSIST.\n\n" + table.String(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context()) },
	}
}

func serve(ctx context.Context) error {
	cfg, unknown, err := broker.LoadConfig()
	if err != nil {
		return &usageError{err}
	}
	logger := broker.NewLogger(os.Stderr, cfg)
	for _, name := range unknown {
		logger.Warn("ignoring an unknown variable; dq serve --help lists all settings", "variable", name)
	}

	b, err := broker.Start(ctx, cfg, logger)
	switch {
	case err != nil && ctx.Err() != nil: // stopped while it was waiting for its engine
		logger.Info("stopping")
		return nil
	case err != nil:
		return err
	}

	var failed error
	select {
	case <-ctx.Done():
		logger.Info("stopping")
	case err := <-b.Failed():
		failed = fmt.Errorf("the HTTP server ended: %w", err)
	}
	if err := b.Stop(context.Background()); err != nil {
		return err
	}
	return failed
}
