// Package brokertest runs real brokers for tests, as net/http/httptest runs
// real HTTP servers.
package brokertest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"dq/cmd/dq/broker"
)

// Config is the configuration of a broker for tests: on a free port of the
// loopback interface, in memory if dir is empty and with its files in dir
// otherwise.
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
	b, err := broker.Start(context.Background(), cfg, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
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

// Modes runs test as a parallel subtest in each storage mode, with the
// configuration of a broker of that mode.
func Modes(t *testing.T, test func(t *testing.T, cfg broker.Config)) {
	t.Helper()
	for _, mode := range []string{"memory", "persistent"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dir := ""
			if mode == "persistent" {
				dir = t.TempDir()
			}
			test(t, Config(dir))
		})
	}
}
