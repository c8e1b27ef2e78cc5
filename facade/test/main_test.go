package test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

// brokerDir is the environment variable that makes the test binary a broker instead. It names the broker's data
// directory.
const brokerDir = "DQ_TEST_BROKER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(brokerDir); dir != "" {
		os.Exit(runBroker(dir))
	}
	os.Exit(m.Run())
}

// runBroker runs a broker until standard input ends, and prints its URL. It returns the exit status.
func runBroker(dir string) int {
	b, err := broker.Start(context.Background(), brokertest.Config(dir), slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		return 1
	}

	fmt.Println(b.URL())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// startProcess starts a broker in a process of its own, with its data in dir. The process ends with the test.
func startProcess(t *testing.T, dir string) (api, *os.Process) {
	t.Helper()
	return startCommand(t, dir, exec.CommandContext(t.Context(), os.Args[0]))
}

// startCommand starts a broker with its data in dir by a command that runs this test binary.
func startCommand(t *testing.T, dir string, cmd *exec.Cmd) (api, *os.Process) {
	t.Helper()
	cmd.Env = append(os.Environ(), brokerDir+"="+dir)
	_, err := cmd.StdinPipe() // which ends when this process does
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)

	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})

	url, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return newAPI(t, strings.TrimSpace(url)), cmd.Process
}

// startToKill starts a broker in a process of its own, with its data in dir. Kill ends the process as kill -9 does.
func startToKill(t *testing.T, dir string) (a api, kill func()) {
	t.Helper()
	a, process := startProcess(t, dir)
	return a, func() {
		_ = process.Kill()
		_, _ = process.Wait()
	}
}

// twoBrokers starts two brokers. The second uses the engine of the first, through NATS.
func twoBrokers(t *testing.T) (first, second api) {
	t.Helper()
	cfg := natsConfig(t)
	first = startAPI(t, cfg)
	return first, startAPI(t, sharing(cfg))
}

// sharing returns the configuration of a broker that uses the engine of one with the configuration cfg.
func sharing(cfg broker.Config) broker.Config {
	other := brokertest.Config("")
	other.NatsURL, other.NATSUser, other.NATSPassword = "nats://"+cfg.NATSAddr, cfg.NATSUser, cfg.NATSPassword
	return other
}

// natsConfig returns the configuration of a broker that NATS clients may connect to.
func natsConfig(t *testing.T) broker.Config {
	t.Helper()
	cfg := brokertest.Config("")
	cfg.NATSUser, cfg.NATSPassword = "dq", "secret"

	// The system gives ports of 32768 and more to clients. A lower one stays free until the broker takes it.
	for cfg.NATSAddr == "" {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000)))
		if err == nil {
			cfg.NATSAddr = l.Addr().String()
			require.NoError(t, l.Close())
		}
	}
	return cfg
}
