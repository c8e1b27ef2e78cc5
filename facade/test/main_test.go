package test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

func startAPI(t testing.TB, cfg broker.Config) api {
	t.Helper()
	return newAPI(t, brokertest.Start(t, cfg).URL())
}

// newAPI leaves the broker before that is stopped, as far as it does not use it.
func newAPI(t testing.TB, url string) api {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	t.Cleanup(client.CloseIdleConnections)
	return api{t, url, client}
}

// twoBrokers are two facades on the engine of the first.
func twoBrokers(t *testing.T) (first, second api) {
	t.Helper()
	cfg := natsConfig(t)
	first = startAPI(t, cfg)
	other := brokertest.Config("")
	other.NATSURL, other.NATSUser, other.NATSPassword = "nats://"+cfg.NATSAddr, cfg.NATSUser, cfg.NATSPassword
	return first, startAPI(t, other)
}

// natsConfig is that of a broker which NATS clients may connect to.
func natsConfig(t *testing.T) broker.Config {
	t.Helper()
	cfg := brokertest.Config("")
	cfg.NATSUser, cfg.NATSPassword = "dq", "secret"
	for cfg.NATSAddr == "" {
		// Not one of those that the system gives to clients.
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000)))
		if err == nil {
			cfg.NATSAddr = l.Addr().String()
			require.NoError(t, l.Close())
		}
	}
	return cfg
}

// brokerDir is set in the environment of a process that is to be a broker with
// its files there rather than the tests.
const brokerDir = "DQ_TEST_BROKER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(brokerDir); dir != "" {
		b, err := broker.Start(context.Background(), brokertest.Config(dir), slog.New(slog.DiscardHandler))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(b.URL())
		_, _ = io.Copy(io.Discard, os.Stdin) // until the tests end, or kill it
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// startToKill starts a broker in a process of its own, which kill ends as the
// kernel does.
func startToKill(t *testing.T, dir string) (a api, kill func()) {
	t.Helper()
	a, process := startProcess(t, dir)
	return a, func() { _ = process.Kill(); _, _ = process.Wait() }
}

func startProcess(t *testing.T, dir string) (api, *os.Process) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), brokerDir+"="+dir)
	_, err := cmd.StdinPipe() // which ends when the tests do
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	url, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return newAPI(t, strings.TrimSpace(url)), cmd.Process
}
