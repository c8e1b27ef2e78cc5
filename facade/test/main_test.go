package test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

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
