package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCLI_ProduceSendsBatches(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	s.run(command{args: "topic create orders --max-messages 100 --when-full refuse_new"})

	s.run(
		command{args: "produce orders", stdin: "one\ntwo\n\nfour", stderr: "produced 4 messages to orders\n"},
		command{
			args:   "produce orders --key eu --header Trace:7 --content-type text/plain --ttl 1h five",
			stderr: "produced 1 messages",
		},
		command{
			args:   "produce orders --delay 1h later --json",
			stdout: []string{`{"deliver_at":"`},
			stderr: "produced 1 messages",
		},
		command{
			args:   "produce orders --batch 1 --json",
			stdin:  "six\nseven\n",
			stdout: []string{`{"sequence":6,`, `{"sequence":7,`},
			stderr: "produced 2 messages",
		},
	)
}

func TestCLI_ProduceRefusesWrongMessages(t *testing.T) {
	t.Parallel()
	s := startSession(t)

	s.run(
		command{args: "produce orders --header x y", status: exitUsage, stderr: "NAME:VALUE"},
		command{
			args:   "produce orders --header Nats-X:1 y",
			status: exitRefused,
			stderr: "after 0 messages: invalid field",
		},
		command{args: "produce orders --id 1 --key x y", status: exitUsage, stderr: "--id"},
		command{args: "produce publ", stdin: "x", status: exitRefused, stderr: "reserved"},
	)
}

func TestCLI_ProduceKeepsTheOrderOfAPipe(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	var lines strings.Builder
	for i := range 5000 {
		lines.WriteString(strings.Repeat("x", i%7))
		lines.WriteByte('\n')
	}

	_, stderr, status := dq(t.Context(), lines.String(), "produce", "T", "--broker", s.address)
	stdout, _, _ := dq(t.Context(), "", "browse", "T", "--json", "--broker", s.address)

	require.Zero(t, status, stderr)
	n := 0
	for line := range strings.Lines(stdout) {
		var m struct{ Data string }
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		require.Equal(t, strings.Repeat("x", n%7), m.Data)
		n++
	}
	assert.Equal(t, 5000, n)
}
