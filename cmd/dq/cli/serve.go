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
	_ = broker.Usage(&table)
	return &cobra.Command{
		Use:   "serve",
		Short: "Run a broker",
		Long: "Run a broker until SIGINT or SIGTERM: the HTTP API and the storage engine, in this process.\n" +
			"With no setting at all it listens on 127.0.0.1:5000 and keeps its data in ./dq-data.\n\n" +
			"It is configured from the environment. PERSIST may stand for DQ_PERSIST.\n\n" + table.String(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, unknown, err := broker.LoadConfig()
			if err != nil {
				return &usageError{err}
			}
			logger := broker.NewLogger(os.Stderr, cfg)
			for _, name := range unknown {
				logger.Warn("this variable sets nothing; dq serve --help lists those that do", "variable", name)
			}
			b, err := broker.Start(cmd.Context(), cfg, logger)
			if err != nil {
				return err
			}
			select {
			case <-cmd.Context().Done():
				logger.Info("stopping")
			case err = <-b.Failed():
				err = fmt.Errorf("the HTTP server ended: %w", err)
			}
			if stopErr := b.Stop(context.Background()); stopErr != nil {
				return stopErr
			}
			return err
		},
	}
}
