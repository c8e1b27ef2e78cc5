package main

import (
	"bufio"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

func TestTailFollowsUntilItIsInterrupted(t *testing.T) {
	t.Parallel()
	address := brokertest.Start(t, brokertest.Config("")).URL()
	env := []string{"DQ_BROKER=" + address}
	require.NoError(t, dq(t, env, "produce", "T", "one", "two").Run())
	tail := dq(t, env, "tail", "T", "-f", "-n", "1", "--json")
	out, err := tail.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, tail.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	assert.Contains(t, lines.Text(), `"data":"two"`)
	require.NoError(t, dq(t, env, "produce", "T", "three\x1b[2J").Run())
	require.True(t, lines.Scan())
	assert.Contains(t, lines.Text(), `"sequence":3`)
	require.NoError(t, tail.Process.Signal(syscall.SIGINT))
	require.NoError(t, tail.Wait())

	stdout, err := dq(t, env, "tail", "T", "-n", "1").Output()
	require.NoError(t, err)
	assert.Contains(t, string(stdout), `"three\x1b[2J"`, "control characters are not for a terminal")
}

func TestATokenIsShownAndNotPrinted(t *testing.T) {
	t.Parallel()
	cmd := dq(t, []string{"DQ_TOKEN=secret"}, "topic", "list", "--help")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err)
	assert.Contains(t, string(out), "$DQ_TOKEN")
	assert.NotContains(t, string(out), "secret")
}
