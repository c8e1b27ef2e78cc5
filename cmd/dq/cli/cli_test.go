package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"

	"dq/cmd/dq/broker/brokertest"
)

// dq runs the dq command in this process, and returns what it printed and its exit status.
func dq(ctx context.Context, stdin string, args ...string) (stdout, stderr string, status int) {
	var out, errs strings.Builder
	status = run(ctx, args, streams{in: strings.NewReader(stdin), out: &out, err: &errs})
	return out.String(), errs.String(), status
}

// session runs commands on one broker.
type session struct {
	t       *testing.T
	address string
	tokens  []string // the tokens of leases that commands printed as JSON
}

func startSession(t *testing.T) *session {
	t.Helper()
	return &session{t: t, address: brokertest.Start(t, brokertest.Config("")).URL()}
}

// command is a command line with what it must do.
type command struct {
	args   string // TOKEN0 stands for the first token that was printed, and so on
	stdin  string
	status int
	stdout []string // texts that are printed, in this order; nil: nothing is printed
	stderr string   // a text that is printed
}

// run runs commands one after the other and checks what they do.
func (s *session) run(commands ...command) {
	s.t.Helper()
	for _, c := range commands {
		line := "dq " + c.args
		for i, token := range s.tokens {
			c.args = strings.ReplaceAll(c.args, fmt.Sprint("TOKEN", i), token)
		}

		stdout, stderr, status := dq(s.t.Context(), c.stdin, append(strings.Fields(c.args), "--broker", s.address)...)

		assert.Equal(s.t, c.status, status, "%s: %s", line, stderr)
		assert.Contains(s.t, stderr, c.stderr, line)
		assertInOrder(s.t, c.stdout, stdout, line)
		if strings.Contains(c.args, "--json") {
			s.readObjects(stdout, line)
		}
	}
}

// assertInOrder checks that text has the parts, in that order, and is empty if there are none.
func assertInOrder(t *testing.T, parts []string, text, line string) {
	t.Helper()
	if parts == nil {
		assert.Empty(t, text, line)
	}
	rest := text
	for _, part := range parts {
		_, after, found := strings.Cut(rest, part)
		assert.True(t, found, "%s: no %q in %q", line, part, text)
		rest = after
	}
}

// readObjects checks that each line of stdout is a JSON object, and remembers their tokens.
func (s *session) readObjects(stdout, line string) {
	s.t.Helper()
	decoder := json.NewDecoder(strings.NewReader(stdout))
	lines := 0
	for {
		var object struct{ Token string }
		err := decoder.Decode(&object)
		if err == io.EOF {
			break
		}
		if !assert.NoError(s.t, err, "%s: %s", line, stdout) {
			return
		}
		lines++
		if object.Token != "" {
			s.tokens = append(s.tokens, object.Token)
		}
	}
	assert.Equal(s.t, strings.Count(stdout, "\n"), lines, "%s: one object per line", line)
}

// produceSeven creates the topic orders of seven messages; the fifth has a key and headers.
func (s *session) produceSeven() {
	s.t.Helper()
	s.run(
		command{args: "topic create orders"},
		command{args: "produce orders", stdin: "one\ntwo\n\nfour", stderr: "produced 4 messages to orders\n"},
		command{
			args:   "produce orders --key eu --header Trace:7 --content-type text/plain --ttl 1h five",
			stderr: "produced 1 messages",
		},
		command{args: "produce orders --batch 1", stdin: "six\nseven\n", stderr: "produced 2 messages"},
	)
}

func TestCLI_TopicIsCreatedChangedAndDeleted(t *testing.T) {
	t.Parallel()
	s := startSession(t)

	s.run(
		command{args: "topic create orders --max-messages 100 --when-full refuse_new"},
		command{args: "topic create orders", status: exitRefused, stderr: "already exist"},
		command{
			args:   "topic create orders --if-not-exists --json",
			stdout: []string{`{"name":"orders"`, `"max_age":"0s"`},
		},
		command{
			args:   "topic create orders --if-not-exists --max-messages 7",
			status: exitRefused,
			stderr: "other settings",
		},
		command{args: "topic create x --when-full explode", status: exitUsage, stderr: "refuse_new"},
		command{args: "topic create x --max-age 1", status: exitUsage, stderr: "max-age"},
		command{args: "topic change orders --max-age 1h", stdout: []string{"settings.max_age", "1h0m0s"}},
		command{args: "topic change none --max-age 1h", status: exitRefused, stderr: "does not exist"},
		command{args: "topic delete orders"},
		command{args: "topic delete orders", status: exitRefused, stderr: "does not exist"},
	)
}

func TestCLI_TopicsAreDescribedListedAndPurged(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	s.produceSeven()
	s.run(command{args: "consumer create orders --json", stdout: []string{`{"id":0,"topic":"orders","mode":"auto"`}})

	s.run(
		command{args: "topic describe orders --json", stdout: []string{`"messages":7`, `"consumers":1`}},
		command{args: "topic list o", stdout: []string{"name", "first sequence", "orders", "7"}},
		command{args: "topic list nothing"},
		command{args: "topic list --json", stdout: []string{`{"name":"orders"`}},
		command{args: "topics --json", stdout: []string{`{"name":"orders"}` + "\n"}},
		command{args: "topics", stdout: []string{"orders\n"}},
		command{args: "topic purge orders --up-to 2", stdout: []string{"purged 2 messages"}},
		command{args: "topic purge orders --json", stdout: []string{`{"purged":5}`}},
	)
}

func TestCLI_ConsumerIsCreatedMovedPausedAndDeleted(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	s.produceSeven()

	s.run(
		command{
			args:   "consumer create orders --name billing --mode lease --start first --lease 1h",
			stdout: []string{"billing\n"},
		},
		command{args: "consumer create orders --json", stdout: []string{`{"id":1,"topic":"orders","mode":"auto"`}},
		command{args: "consumer create orders", stdout: []string{"2\n"}},
		command{args: "consumer create orders --start yesterday", status: exitUsage, stderr: "invalid start"},
		command{args: "consumer create orders --mode never", status: exitRefused, stderr: "want auto or lease"},

		command{args: "seek orders billing 6", stdout: []string{"position", "5", "lag", "2"}},
		command{args: "seek orders billing nowhere", status: exitUsage, stderr: "invalid start"},
		command{args: "consumer seek orders billing new --json", stdout: []string{`"lag":0`}},
		command{args: "consumer pause orders billing 1h", stdout: []string{"paused_until"}},
		command{args: "consumer pause orders billing soon", status: exitUsage, stderr: "duration"},
		command{args: "consumer resume orders billing --json", stdout: []string{`"name":"billing"`}},

		command{
			args:   "consumer list orders",
			stdout: []string{"id", "name", "in flight", "billing", "lease", "auto"},
		},
		command{args: "consumer describe orders billing", stdout: []string{"lease", "1h0m0s"}},
		command{args: "consumer delete orders billing 7", status: exitUsage, stderr: "accepts 2 arg(s), received 3"},
		command{args: "consumer delete orders billing"},
		command{args: "consumer describe orders billing", status: exitRefused, stderr: "does not exist"},
	)
}

func TestCLI_UnknownArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	var unchecked []string
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.Args == nil {
				unchecked = append(unchecked, sub.CommandPath())
			}
			walk(sub)
		}
	}
	walk(Root())

	assert.Empty(t, unchecked, "these commands do not say which arguments they take, so cobra accepts any")
	for _, group := range []string{"topic", "consumer", "token", "scenario", "bench"} {
		stdout, stderr, status := dq(t.Context(), "", group, "remove")
		assert.Equal(t, exitUsage, status, group)
		assert.Contains(t, stderr, `unknown command "remove" for "dq `+group+`"`)
		assert.Empty(t, stdout)
	}
}

func TestCLI_RegisterSizeAndConsumeUseTheClassicAPI(t *testing.T) {
	t.Parallel()
	s := startSession(t)

	s.run(
		command{args: "topic create orders"},
		command{args: "register consumer orders --json", stdout: []string{`{"id":0}`}},
		command{args: "produce orders hi --json", stdout: []string{`{"produced":1,"producer":0}`}},
		command{args: "size orders --id 0 --json", stdout: []string{`{"size":1}`}},
		command{args: "consume orders --id 0 --json", stdout: []string{`{"message":"hi"}`}},
		command{args: "consume orders --id 0", status: exitEmpty, stderr: "Empty"},
		command{args: "register producer orders", stdout: []string{"1\n"}},
		command{args: "produce orders --id 1 a b", stderr: "produced 2 messages to orders as producer 1\n"},
		command{args: "consume orders --id 0 -n 1", stdout: []string{"a\n"}},
		command{args: "consume orders --timeout 1ms"},
	)
}

func TestCLI_HealthAndVersionPrintObjects(t *testing.T) {
	t.Parallel()
	s := startSession(t)

	s.run(
		command{args: "health"},
		command{args: "health --json", stdout: []string{`{"accepts_data":true,"ready":true}`}},
	)
	text, _, textStatus := dq(t.Context(), "", "version")
	object, _, objectStatus := dq(t.Context(), "", "version", "--json")

	assert.Zero(t, textStatus)
	assert.Regexp(t, `^dq devel \(nats-server [^ ,]+, go[^ ,]+, [a-z0-9]+/[a-z0-9]+\)\n$`, text)
	assert.Zero(t, objectStatus)
	assertInOrder(t, []string{`"go":"`, `"nats_server":"`, `"platform":"`, `"version":"`}, object, "dq version --json")
	assert.NoError(t, json.Unmarshal([]byte(object), new(map[string]string)))
}
