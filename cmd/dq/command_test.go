package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

func TestCommandsAndTheirExitStatus(t *testing.T) {
	t.Parallel()
	address := brokertest.Start(t, brokertest.Config("")).URL()
	tests := []struct {
		args   string
		stdin  string
		status int
		stdout string
		stderr string // what it has to contain
	}{
		{"topics", "", 0, "", ""},
		{"topic create T1", "", 0, "", ""},
		{"topic create T1", "", 3, "", "Topic:T1 already exist"},
		{"topic create publ", "", 3, "", "reserved"},
		{"register consumer T1", "", 0, "0\n", ""},
		{"register consumer T2", "", 3, "", "Topic:T2 does not exist"},
		{"register producer T2", "", 0, "0\n", ""},
		{"register reader T2", "", 2, "", "want producer or consumer"},
		{"topics", "", 0, "T1\nT2\n", ""},
		{"size T1 --id 0", "", 0, "0\n", ""},
		{"consume T1 --id 0", "", 4, "", "Empty logs"},
		{"produce T1 one two", "", 0, "", "produced 2 messages to T1 as producer 1"},
		{"produce T1 --id 1", "three\n\nfive", 0, "", "produced 3 messages"},
		{"produce T1 --id 0", "x\n", 3, "", "after 0 messages: Producer:0 is not registered with Topic:T1"},
		{"size T1 --id 0", "", 0, "5\n", ""},
		{"consume T1 --id 0 --count 1", "", 0, "one\n", ""},
		{"consume T1 --id 0", "", 0, "two\nthree\n\nfive\n", ""},
		{"consume T1 --timeout 1ms", "", 0, "", ""},
		{"consume T1 --id 9", "", 3, "", "Consumer:9 does not exist"},
		{"health", "", 0, "", ""},
		{"health --broker 127.0.0.1:1", "", 5, "", "no broker can be reached at http://127.0.0.1:1"},
		{"health --broker ftp://x", "", 2, "", "want HOST:PORT"},
		{"size T1", "", 2, "", "id"},
		{"size T1 --id x", "", 2, "", "id"},
		{"size", "", 2, "", "arg"},
		{"nonsense", "", 2, "", "nonsense"},
		{"completion bash", "", 0, "", ""},
	}
	for _, test := range tests {
		cmd := dq(t, []string{"DQ_BROKER=" + address}, strings.Fields(test.args)...)
		cmd.Stdin = strings.NewReader(test.stdin)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		stdout, err := cmd.Output()
		if _, exited := err.(*exec.ExitError); err != nil && !exited {
			require.NoError(t, err)
		}
		assert.Equal(t, test.status, cmd.ProcessState.ExitCode(), "dq %s: %s", test.args, &stderr)
		if test.args != "completion bash" {
			assert.Equal(t, test.stdout, string(stdout), "dq %s", test.args)
		}
		assert.Contains(t, stderr.String(), test.stderr, "dq %s", test.args)
	}
}
