package verify_test

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
	"dq/cmd/dq/verify"
	"dq/cmd/dq/verify/fault"
	"dq/cmd/dq/verify/history"
)

func options(urls ...string) verify.Options {
	return verify.Options{URLs: urls, Count: 1, Messages: 120, Clients: verify.ClientsPerRound, Timeout: 10 * time.Second, Patience: 20 * time.Second}
}

// show is a result as people see it.
func show(t *testing.T, result *verify.Result) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, result.Write(&out))
	return out.String()
}

func TestABrokerThatKeepsItsPromisesIsFoundToDoSo(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		b := brokertest.Start(t, cfg)
		opts := options(b.URL())
		opts.HangUp = true
		var history bytes.Buffer
		opts.History = &history
		result, err := verify.Run(context.Background(), opts)
		require.NoError(t, err)
		assert.True(t, result.OK(), show(t, result))
		for check, n := range result.Checked {
			assert.Positive(t, n, check)
		}

		again, err := verify.Replay(&history, false)
		require.NoError(t, err)
		assert.True(t, again.OK(), show(t, again))
		assert.Equal(t, result.Checked, again.Checked)
	})
}

func TestABrokerThatIsKilledAndRestartedKeepsItsPromises(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.Count, opts.Duration, opts.Timeout = 0, 5*time.Second, 3*time.Second
	self := fault.Deployment{
		Command: []string{os.Args[0]}, Env: []string{runBroker + "=1"},
		Facades: 1, Durability: "interval", Dir: t.TempDir(),
	}
	result, err := verify.RunSelf(context.Background(), opts, self, []string{history.FaultKill, history.FaultRestart}, t.Output())
	require.NoError(t, err)
	assert.True(t, result.OK(), show(t, result))
}

func TestFaultsThatCannotBeMadeAreRefused(t *testing.T) {
	t.Parallel()
	for name, memory := range map[string]bool{"fire": false, history.FaultKill: true, history.FaultDisk: true} {
		self := fault.Deployment{Facades: 1, Memory: memory, Dir: t.TempDir()}
		_, err := verify.RunSelf(context.Background(), options(), self, []string{name}, t.Output())
		assert.ErrorContains(t, err, name)
	}
}
