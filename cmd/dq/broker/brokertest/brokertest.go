// Package brokertest runs real brokers for tests, as net/http/httptest runs real HTTP servers.
package brokertest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"dq/cmd/dq/broker"
)

// Config returns the configuration of a broker for tests: on a free port of the loopback interface, with its files in
// dir or, if dir is empty, in memory.
func Config(dir string) broker.Config {
	return broker.Config{
		Addr:            "127.0.0.1:0",
		Persist:         broker.YesNo(dir != ""),
		DataDir:         dir,
		Durability:      broker.SyncInterval,
		SyncInterval:    time.Minute,
		MaxMessageBytes: 1 << 20,
		CORSOrigins:     "*",
		Replicas:        1,
		RequestTimeout:  10 * time.Second,
		ShutdownTimeout: 10 * time.Second,
		Heartbeat:       700 * time.Millisecond,
	}
}

// Start starts a broker with cfg and stops it when the test ends.
func Start(t testing.TB, cfg broker.Config) *broker.Broker {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := broker.Start(context.Background(), cfg, logger)
	if err != nil {
		t.Fatalf("start a broker: %v", err)
	}

	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Errorf("stop the broker: %v", err)
		}
	})
	return b
}

// Modes runs test as a parallel subtest for each kind of storage, with the configuration of a broker that uses it.
func Modes(t *testing.T, test func(t *testing.T, cfg broker.Config)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, Config(""))
	})
	t.Run("persistent", func(t *testing.T) {
		t.Parallel()
		test(t, Config(t.TempDir()))
	})
}
