package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
	"dq/cmd/dq/verify"
	"dq/cmd/dq/verify/check"
	"dq/cmd/dq/verify/fault"
	"dq/cmd/dq/verify/history"
)

// options are those of a run of one small round.
func options(urls ...string) verify.Options {
	return verify.Options{
		URLs: urls, Count: 1, Messages: 120, Clients: verify.ClientsPerRound,
		Timeout: 10 * time.Second, Patience: 20 * time.Second,
	}
}

// show returns a result as people see it.
func show(t *testing.T, result *verify.Result) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, result.Write(&out))
	return out.String()
}

func TestVerify_BrokerThatKeepsItsPromisesHasNoViolation(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		b := brokertest.Start(t, cfg)
		var history bytes.Buffer
		opts := options(b.URL())
		opts.HangUp, opts.History = true, &history

		result, err := verify.Run(context.Background(), opts)
		require.NoError(t, err)
		replayed, err := verify.Replay(&history, false)
		require.NoError(t, err)

		assert.True(t, result.OK(), show(t, result))
		for _, name := range check.All {
			assert.Positive(t, result.Checked[name], name)
		}
		assert.True(t, replayed.OK(), show(t, replayed))
		assert.Equal(t, result.Checked, replayed.Checked)
	})
}

func TestVerify_BrokerThatIsKilledAndRestartedKeepsItsPromises(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.Count, opts.Duration, opts.Timeout = 0, 5*time.Second, 3*time.Second
	deployment := fault.Deployment{
		Command: []string{os.Args[0]}, Env: []string{runBroker + "=1"},
		Facades: 1, Durability: "interval", Dir: t.TempDir(),
	}

	faults := []string{history.FaultKill, history.FaultRestart}
	result, err := verify.RunSelf(context.Background(), opts, deployment, faults, t.Output())

	require.NoError(t, err)
	assert.True(t, result.OK(), show(t, result))
}

func TestVerify_FaultThatCannotBeMadeIsRefused(t *testing.T) {
	t.Parallel()
	for name, memory := range map[string]bool{"fire": false, history.FaultKill: true, history.FaultDisk: true} {
		deployment := fault.Deployment{Facades: 1, Memory: memory, Dir: t.TempDir()}

		_, err := verify.RunSelf(context.Background(), options(), deployment, []string{name}, t.Output())

		assert.ErrorContains(t, err, name)
	}
}

func TestReplay_InputThatIsNoHistoryIsRefused(t *testing.T) {
	t.Parallel()
	input := strings.NewReader(`{"n":1,"kind":"size","outcome":"ok"}` + "\nhello")

	_, err := verify.Replay(input, false)

	assert.ErrorContains(t, err, "reading the history after operation 1")
}

func TestReplay_HistoryThatBreaksOffIsChecked(t *testing.T) {
	t.Parallel()
	stuck := history.Op{Topic: "t", Kind: history.OpStuck, Outcome: history.OK, Name: "messages are produced"}
	var recorded bytes.Buffer
	require.NoError(t, history.Write(&recorded, &stuck))

	result, err := verify.Replay(&recorded, false)

	require.NoError(t, err)
	require.Len(t, result.Violations, 1)
	assert.Equal(t, "progress", result.Violations[0].Check)
}

func TestReport_ShowsVerdictCountsAndTheFirstViolations(t *testing.T) {
	t.Parallel()
	result := &verify.Result{
		Operations: 7, Rounds: 1, Elapsed: 2 * time.Second,
		Counts:   map[string]map[string]int64{history.OpProduce: {history.OK: 5, history.Unknown: 2}},
		Failures: map[string]int64{"0 no_answer": 1, "503 unavailable": 1},
		Faults:   map[string]int64{history.FaultKill: 3},
		Checked:  map[string]int64{"lost": 5},
	}
	for i := range 5 {
		op := &history.Op{Kind: history.OpProduce, Outcome: history.OK}
		result.Violations = append(result.Violations, check.Violation{
			Check: "lost", Topic: "t", Text: fmt.Sprintf("m%d is not in the topic", i), Ops: []*history.Op{op},
		})
	}

	text := show(t, result)

	assert.Regexp(t, `produce +│ +5 │ +0 │ +2 │ +0 │`, text)
	assert.Regexp(t, `lost +│ +5 │ +5 │`, text)
	assert.Contains(t, text, "failures: no_answer 1, 503 unavailable 1\n")
	assert.Contains(t, text, "faults: kill 3\n")
	assert.Contains(t, text, "LOST: m2 is not in the topic\n  topic t\n")
	assert.NotContains(t, text, "m3 is not in the topic", "three of each check are shown")
	assert.Contains(t, text, "5 VIOLATIONS: 7 operations in 1 rounds and 2s\n")
	result.Violations = nil
	assert.Contains(t, show(t, result), "all promises were kept: 7 operations in 1 rounds and 2s\n")
}
