package verify_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"dq/cmd/dq/broker"
)

// runBroker is set in the environment of a process that is to be a broker rather
// than the tests.
const runBroker = "VERIFY_TEST_RUN_BROKER"

func TestMain(m *testing.M) {
	if os.Getenv(runBroker) == "" {
		os.Exit(m.Run())
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve runs a broker until SIGTERM.
func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, _, err := broker.LoadConfig()
	if err != nil {
		return err
	}
	b, err := broker.Start(ctx, cfg, broker.NewLogger(os.Stderr, cfg))
	if err != nil {
		return err
	}

	<-ctx.Done()
	return b.Stop(context.Background())
}
