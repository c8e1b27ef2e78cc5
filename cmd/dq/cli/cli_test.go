package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

// command runs dq and returns what it printed, and its exit status.
func command(t *testing.T, address, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs strings.Builder
	if args[0] != "version" {
		args = append(args, "--broker", address)
	}
	status = run(t.Context(), args, streams{in: strings.NewReader(stdin), out: &out, err: &errs})
	return out.String(), errs.String(), status
}

func TestCommandsOfTheModernAPI(t *testing.T) {
	t.Parallel()
	address := brokertest.Start(t, brokertest.Config("")).URL()
	tests := []struct {
		args   string
		stdin  string
		status int
		stdout []string // what it has to contain, in order; none: nothing is printed
		stderr string
	}{
		{"topic create orders --max-messages 100 --when-full refuse_new", "", 0, nil, ""},
		{"topic create orders", "", 3, nil, "already exist"},
		{"topic create orders --if-not-exists --json", "", 0, []string{`{"name":"orders"`, `"max_age":"0s"`}, ""},
		{"topic create orders --if-not-exists --max-messages 7", "", 3, nil, "other settings"},
		{"topic create x --when-full explode", "", 2, nil, "refuse_new"},
		{"topic create x --max-age 1", "", 2, nil, "max-age"},
		{"topic change orders --max-age 1h", "", 0, []string{"settings.max_age", "1h0m0s"}, ""},
		{"topic change none --max-age 1h", "", 3, nil, "does not exist"},
		{"consumer create orders --name billing --mode lease --start first --lease 1h", "", 0, []string{"billing\n"}, ""},
		{"consumer create orders --json", "", 0, []string{`{"id":1,"topic":"orders","mode":"auto"`}, ""},
		{"consumer create orders --start yesterday", "", 2, nil, "invalid start"},
		{"consumer create orders --mode never", "", 3, nil, "want auto or lease"},
		{"fetch orders billing", "", 4, nil, "no message"},

		{"produce orders", "one\ntwo\n\nfour", 0, nil, "produced 4 messages to orders\n"},
		{"produce orders --key eu --header Trace:7 --content-type text/plain --ttl 1h five", "", 0, nil, "produced 1 messages"},
		{"produce orders --delay 1h later --json", "", 0, []string{`{"deliver_at":"`}, "produced 1 messages"},
		{"produce orders --batch 1 --json", "six\nseven\n", 0, []string{`{"sequence":6,`, `{"sequence":7,`}, "produced 2 messages"},
		{"produce orders --header x y", "", 2, nil, "NAME:VALUE"},
		{"produce orders --header Nats-X:1 y", "", 3, nil, "after 0 messages: invalid field"},
		{"produce orders --id 1 --key x y", "", 2, nil, "--id"},
		{"produce publ", "x", 3, nil, "reserved"},

		{"browse orders --limit 2", "", 0, []string{"sequence", "key", "data", " 1 ", "one\n", " 2 ", "two\n"}, ""},
		{"browse orders --key eu --json", "", 0, []string{`{"sequence":5,`, `"key":"eu","content_type":"text/plain","headers":{"Trace":"7"},"data":"five"}`}, ""},
		{"browse orders --from 7", "", 0, []string{" 7 ", "seven"}, ""},
		{"browse orders --from new", "", 0, nil, ""},
		{"browse none", "", 3, nil, "does not exist"},
		{"tail orders -n 2", "", 0, []string{"sequence", " 6 ", "six\n", " 7 ", "seven\n"}, ""},
		{"tail orders -n 1 --key eu", "", 0, []string{" 5 ", "eu", "five\n"}, ""},
		{"tail orders --from 6 --json", "", 0, []string{`"data":"six"`, `"data":"seven"`}, ""},
		{"tail orders -n 0", "", 0, nil, ""},

		{"fetch orders billing --ack", "", 0, []string{"token", " 1 ", "one"}, ""},
		{"fetch orders billing --limit 2 --wait 1s --json", "", 0, []string{`"token":`, `"deliveries":1,"data":"two"}`, "\n", `"token":`}, ""},
		{"ack orders billing TOKEN0", "", 0, nil, ""},
		{"ack orders billing TOKEN0", "", 3, nil, "hold no lease"},
		{"nack orders billing TOKEN1", "", 0, nil, ""},
		{"fetch orders billing --json", "", 0, []string{`{"sequence":3,`, `"deliveries":2`}, ""},
		{"nack orders billing TOKEN2 --delay 1h", "", 0, nil, ""},
		{"ack orders billing --up-to x y", "", 2, nil, "one TOKEN"},
		{"ack orders billing", "", 2, nil, "arg"},
		{"fetch orders none", "", 3, nil, "does not exist"},

		{"seek orders billing 6", "", 0, []string{"position", "5", "lag", "2"}, ""},
		{"seek orders billing nowhere", "", 2, nil, "invalid start"},
		{"consumer seek orders billing new --json", "", 0, []string{`"lag":0`}, ""},
		{"consumer pause orders billing 1h", "", 0, []string{"paused_until"}, ""},
		{"consumer pause orders billing soon", "", 2, nil, "duration"},
		{"consumer resume orders billing --json", "", 0, []string{`"name":"billing"`}, ""},
		{"consumer list orders", "", 0, []string{"id", "name", "in flight", "billing", "lease", "auto"}, ""},
		{"consumer describe orders billing", "", 0, []string{"lease", "1h0m0s"}, ""},
		{"consumer delete orders billing", "", 0, nil, ""},
		{"consumer describe orders billing", "", 3, nil, "does not exist"},

		{"topic describe orders --json", "", 0, []string{`"messages":7`, `"consumers":1`}, ""},
		{"topic list o", "", 0, []string{"name", "first sequence", "orders", "7"}, ""},
		{"topic list nothing", "", 0, nil, ""},
		{"topic list --json", "", 0, []string{`{"name":"orders"`}, ""},
		{"topics --json", "", 0, []string{`{"name":"orders"}` + "\n"}, ""},
		{"topic purge orders --up-to 2", "", 0, []string{"purged 2 messages"}, ""},
		{"topic purge orders --json", "", 0, []string{`{"purged":5}`}, ""},
		{"register consumer orders --json", "", 0, []string{`{"id":2}`}, ""},
		{"produce orders hi --json", "", 0, []string{`{"produced":1,"producer":0}`}, ""},
		{"size orders --id 2 --json", "", 0, []string{`{"size":1}`}, ""},
		{"consume orders --id 2 --json", "", 0, []string{`{"message":"hi"}`}, ""},
		{"health --json", "", 0, []string{`{"ready":true}`}, ""},
		{"version --json", "", 0, []string{`"version":"`}, ""},
		{"topic delete orders", "", 0, nil, ""},
		{"topic delete orders", "", 3, nil, "does not exist"},
	}
	var tokens []string // TOKEN0 and so on, as they were printed
	for _, test := range tests {
		for i, token := range tokens {
			test.args = strings.ReplaceAll(test.args, fmt.Sprint("TOKEN", i), token)
		}
		stdout, stderr, status := command(t, address, test.stdin, strings.Fields(test.args)...)
		assert.Equal(t, test.status, status, "dq %s: %s", test.args, stderr)
		assert.Contains(t, stderr, test.stderr, "dq %s", test.args)
		rest := stdout
		for _, want := range test.stdout {
			_, after, found := strings.Cut(rest, want)
			assert.True(t, found, "dq %s: no %q in %q", test.args, want, stdout)
			rest = after
		}
		if test.stdout == nil {
			assert.Empty(t, stdout, "dq %s", test.args)
		}
		if strings.Contains(test.args, "--json") {
			for line := range strings.Lines(stdout) {
				var object struct{ Token string }
				assert.NoError(t, json.Unmarshal([]byte(line), &object), "dq %s: %s", test.args, line)
				if object.Token != "" {
					tokens = append(tokens, object.Token)
				}
			}
		}
	}
}

func TestAPipeIsProducedInOrder(t *testing.T) {
	t.Parallel()
	address := brokertest.Start(t, brokertest.Config("")).URL()
	var lines strings.Builder
	for i := range 5000 {
		lines.WriteString(strings.Repeat("x", i%7))
		lines.WriteByte('\n')
	}
	_, stderr, status := command(t, address, lines.String(), "produce", "T")
	require.Zero(t, status, stderr)
	stdout, _, _ := command(t, address, "", "browse", "T", "--json")
	n := 0
	for line := range strings.Lines(stdout) {
		var m struct{ Data string }
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		require.Equal(t, strings.Repeat("x", n%7), m.Data)
		n++
	}
	assert.Equal(t, 5000, n)
}
