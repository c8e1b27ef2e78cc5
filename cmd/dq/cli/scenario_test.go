package cli

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
)

func TestCLI_ScenarioRunsAndIsChecked(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	dir := t.TempDir()

	s.run(
		command{args: "scenario logs 2P2C " + dir},
		command{
			args:   "scenario run 2P2C " + dir,
			stdout: []string{"\n"},
			stderr: "2P2C: the producers were done after",
		},
		command{args: "scenario check 2P2C " + dir + " --json", stdout: []string{"{", "}"}},
		command{args: "scenario check 9P9C " + dir, status: exitUsage, stderr: "9P9C"},
	)
}

func TestCLI_DemoIgnoresSettingsThatConcernOthers(t *testing.T) {
	for _, name := range []string{
		"DQ_TOKENS", "DQ_AUDIT_LOG", "DQ_TLS_CERT", "DQ_TLS_KEY", "DQ_TLS_CLIENT_CA", "DQ_NATS_URL",
	} {
		t.Setenv(name, "set")
	}
	t.Setenv("DQ_ADDR", "192.0.2.1:5000")
	t.Setenv("DQ_REPLICAS", "3")

	cfg, err := demoConfig(t.TempDir())
	require.NoError(t, err)
	b, err := broker.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))

	require.NoError(t, err)
	require.NoError(t, b.Stop(t.Context()))
}

func TestCLI_DemoRunsUntilItIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	stdout, out := io.Pipe()
	var stderr strings.Builder
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, []string{"demo"}, streams{in: strings.NewReader(""), out: out, err: &stderr})
		out.Close()
	}()

	var printed strings.Builder
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && !strings.Contains(lines.Text(), "/consumer/consume?topic=hello&consumer_id=") {
		printed.WriteString(lines.Text() + "\n")
	}
	interrupt()
	rest, err := io.ReadAll(stdout)
	require.NoError(t, err)

	assert.Equal(t, exitOK, <-status, stderr.String())
	assert.Regexp(t, `/producer/produce -d '{"topic":"hello","producer_id":\d+,"message":"hi"}'`, printed.String())
	assert.Empty(t, strings.TrimSpace(string(rest)))
	assert.Contains(t, stderr.String(), "a broker runs at http://127.0.0.1:")
	assert.Contains(t, stderr.String(), "5P3C: the producers were done after")
}
