package main

import (
	"bufio"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

// command is a command line with what it must do.
type command struct {
	args   string
	stdin  string
	status int
	stdout string
	stderr string // a text that is printed
}

func TestCLI_CommandsEndWithTheirExitStatus(t *testing.T) {
	t.Parallel()
	address := brokertest.Start(t, brokertest.Config("")).URL()

	for _, c := range []command{
		{args: "topics"},
		{args: "topic create T1"},
		{args: "topic create T1", status: 3, stderr: "Topic:T1 already exist"},
		{args: "topic create publ", status: 3, stderr: "reserved"},
		{args: "register consumer T1", stdout: "0\n"},
		{args: "register consumer T2", status: 3, stderr: "Topic:T2 does not exist"},
		{args: "register producer T2", stdout: "0\n"},
		{args: "register reader T2", status: 2, stderr: "want producer or consumer"},
		{args: "topics", stdout: "T1\nT2\n"},
		{args: "size T1 --id 0", stdout: "0\n"},
		{args: "consume T1 --id 0", status: 4, stderr: "Empty logs"},
		{args: "produce T1 one two", stderr: "produced 2 messages to T1 as producer 1"},
		{args: "produce T1 --id 1", stdin: "three\n\nfive", stderr: "produced 3 messages"},
		{
			args:   "produce T1 --id 0",
			stdin:  "x\n",
			status: 3,
			stderr: "after 0 messages: Producer:0 is not registered with Topic:T1",
		},
		{args: "size T1 --id 0", stdout: "5\n"},
		{args: "consume T1 --id 0 --count 1", stdout: "one\n"},
		{args: "consume T1 --id 0", stdout: "two\nthree\n\nfive\n"},
		{args: "consume T1 --timeout 1ms"},
		{args: "consume T1 --id 9", status: 3, stderr: "Consumer:9 does not exist"},
		{args: "health"},
		{args: "health --broker 127.0.0.1:1", status: 5, stderr: "no broker can be reached at http://127.0.0.1:1"},
		{args: "health --broker ftp://x", status: 2, stderr: "want HOST:PORT"},
		{args: "size T1", status: 2, stderr: "id"},
		{args: "size T1 --id x", status: 2, stderr: "id"},
		{args: "size", status: 2, stderr: "arg"},
		{args: "nonsense", status: 2, stderr: "nonsense"},
	} {
		stdout, stderr, status := runCommand(t, address, c)

		assert.Equal(t, c.status, status, "dq %s: %s", c.args, stderr)
		assert.Equal(t, c.stdout, stdout, "dq %s", c.args)
		assert.Contains(t, stderr, c.stderr, "dq %s", c.args)
	}

	_, stderr, status := runCommand(t, address, command{args: "completion bash"})
	assert.Zero(t, status, stderr)
}

// runCommand runs dq in a process of its own, on the broker at address.
func runCommand(t *testing.T, address string, c command) (stdout, stderr string, status int) {
	t.Helper()
	cmd := dq(t, []string{"DQ_BROKER=" + address}, strings.Fields(c.args)...)
	cmd.Stdin = strings.NewReader(c.stdin)
	var errs strings.Builder
	cmd.Stderr = &errs

	out, err := cmd.Output()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		require.NoError(t, err)
	}
	return string(out), errs.String(), cmd.ProcessState.ExitCode()
}

func TestCLI_TailFollowsUntilInterrupted(t *testing.T) {
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
	require.NoError(t, dq(t, env, "produce", "T", "three").Run())
	require.True(t, lines.Scan())
	assert.Contains(t, lines.Text(), `"sequence":3`)
	require.NoError(t, tail.Process.Signal(syscall.SIGINT))
	require.NoError(t, tail.Wait())
}

func TestCLI_TailQuotesControlCharacters(t *testing.T) {
	t.Parallel()
	address := brokertest.Start(t, brokertest.Config("")).URL()
	env := []string{"DQ_BROKER=" + address}
	require.NoError(t, dq(t, env, "produce", "T", "three\x1b[2J").Run())

	stdout, err := dq(t, env, "tail", "T", "-n", "1").Output()

	require.NoError(t, err)
	assert.Contains(t, string(stdout), `"three\x1b[2J"`, "control characters are not for a terminal")
}

func TestCLI_HelpDoesNotShowTheToken(t *testing.T) {
	t.Parallel()
	cmd := dq(t, []string{"DQ_TOKEN=secret"}, "topic", "list", "--help")

	out, err := cmd.CombinedOutput()

	require.NoError(t, err)
	assert.Contains(t, string(out), "$DQ_TOKEN")
	assert.NotContains(t, string(out), "secret")
}
