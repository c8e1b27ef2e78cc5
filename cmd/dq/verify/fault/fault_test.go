package fault

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/verify/history"
)

// fakeDeployment is brokers that only say that they are ready.
func fakeDeployment(t *testing.T, facades int) Deployment {
	t.Helper()
	return Deployment{
		Command: []string{os.Args[0]}, Env: []string{fakeBroker + "=yes"},
		Facades: facades, Durability: "interval", Dir: t.TempDir(),
	}
}

// start starts a fake deployment, and ends it with the test.
func start(t *testing.T, facades int, faults ...string) *Breaker {
	t.Helper()
	b, err := Start(fakeDeployment(t, facades), faults, t.Output())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}

// settings returns the settings that a fake broker was started with.
func settings(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url + "/settings")
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

func TestStart_BrokersShareTheEngineOfTheFirst(t *testing.T) {
	t.Parallel()
	b := start(t, 2)

	urls := b.URLs()

	require.Len(t, urls, 2)
	first, second := settings(t, urls[0]), settings(t, urls[1])
	_, engine, _ := strings.Cut(first, "DQ_NATS_ADDR=")
	engine, _, _ = strings.Cut(engine, "\n")
	assert.NotEmpty(t, engine)
	assert.Contains(t, second, "DQ_NATS_URL=nats://"+engine+"\n")
	assert.NotContains(t, first, "DQ_NATS_URL")
	for _, got := range []string{first, second} {
		assert.Contains(t, got, "DQ_PERSIST=yes\n")
		assert.Contains(t, got, "DQ_DURABILITY=interval\n")
		assert.Contains(t, got, "DQ_NATS_USER=dq\n")
	}
}

func TestStart_OneBrokerOpensNoPortOfTheEngine(t *testing.T) {
	t.Parallel()
	b := start(t, 1)

	got := settings(t, b.URLs()[0])

	assert.NotContains(t, got, "DQ_NATS_")
}

func TestStart_FaultThatCannotBeMadeIsRefused(t *testing.T) {
	t.Parallel()
	memory := Deployment{Facades: 1, Memory: true}

	_, unknown := Start(Deployment{Facades: 1}, []string{"fire"}, io.Discard)
	_, kill := Start(memory, []string{history.FaultKill}, io.Discard)
	_, disk := Start(memory, []string{history.FaultDisk}, io.Discard)

	assert.ErrorContains(t, unknown, `unknown fault "fire"`)
	assert.ErrorContains(t, kill, "in memory")
	assert.ErrorContains(t, disk, "in memory")
}

func TestStart_BrokerThatEndsIsAnError(t *testing.T) {
	t.Parallel()
	d := fakeDeployment(t, 1)
	d.Env = []string{fakeBroker + "=ends"}

	_, err := Start(d, nil, t.Output())

	assert.ErrorContains(t, err, "the broker ended while it started")
}

func TestStart_CommandThatDoesNotExistIsAnError(t *testing.T) {
	t.Parallel()
	d := fakeDeployment(t, 1)
	d.Command = []string{"/no/such/broker"}

	_, err := Start(d, nil, t.Output())

	assert.ErrorContains(t, err, "/no/such/broker")
}

func TestBreaker_BrokerIsReadyAfterEachFault(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{history.FaultKill, history.FaultRestart, history.FaultPause, history.FaultFiles} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			b, rec := start(t, 1, fault), history.NewRecorder(nil)
			pid := b.brokers[0].cmd.Process.Pid
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // so that nobody waits for the end of the fault

			err := b.makeFault(ctx, rec, fault, 0)

			require.NoError(t, err)
			assert.True(t, b.brokers[0].ready())
			assert.Equal(t, map[string]int64{fault: 1}, rec.Totals().Faults)
			assert.Empty(t, rec.Take(Topic), "nothing went wrong")
			restarted := fault == history.FaultKill || fault == history.FaultRestart
			assert.Equal(t, restarted, pid != b.brokers[0].cmd.Process.Pid)
		})
	}
}

func TestBreaker_RunMakesFaultsUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	b, rec := start(t, 1, history.FaultRestart, history.FaultClients), history.NewRecorder(nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)

	go func() { ended <- b.Run(ctx, rec) }()

	restarted := func() bool { return rec.Totals().Faults[history.FaultRestart] > 0 }
	require.Eventually(t, restarted, 20*time.Second, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	assert.True(t, b.brokers[0].ready())
	assert.Zero(t, rec.Totals().Faults[history.FaultClients], "the clients make that one")
}

func TestBreaker_BrokerThatEndsByItselfIsRecordedAndStarted(t *testing.T) {
	t.Parallel()
	b, rec := start(t, 1), history.NewRecorder(nil)
	b.brokers[0].end(os.Kill)

	err := restartIfEnded(b.brokers[0], rec)

	require.NoError(t, err)
	assert.True(t, b.brokers[0].ready())
	ops := rec.Take(Topic)
	require.Len(t, ops, 1)
	assert.Equal(t, history.OpStuck, ops[0].Kind)
	assert.Contains(t, ops[0].Name, "the broker stays up")
}

func TestPossible_DependsOnTheDeployment(t *testing.T) {
	t.Parallel()
	memory := Deployment{Memory: true}

	ofOthers := Possible(memory, false)
	inMemory := Possible(memory, true)

	assert.Equal(t, []string{history.FaultClients}, ofOthers)
	assert.Contains(t, inMemory, history.FaultClients)
	assert.NotContains(t, inMemory, history.FaultKill)
	assert.NotContains(t, inMemory, history.FaultRestart)
	assert.NotContains(t, inMemory, history.FaultDisk)
}

func TestFiles_CommandRunsWithTheLimit(t *testing.T) {
	t.Parallel()
	if !canSignal {
		t.Skip("there is no limit on this system")
	}
	command := withFileLimit([]string{"sh", "-c", "ulimit -n"}, 123)

	out, err := exec.Command(command[0], command[1:]...).Output()

	require.NoError(t, err)
	assert.Equal(t, "123\n", string(out))
}

func TestDisk_ZerosNeverEnd(t *testing.T) {
	t.Parallel()
	var out strings.Builder

	n, err := io.CopyN(&out, zeros{}, 1<<16)

	require.NoError(t, err)
	assert.Equal(t, int64(1<<16), n)
	assert.Empty(t, strings.Trim(out.String(), "\x00"))
}
