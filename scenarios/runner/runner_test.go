package runner_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/scenarios/runner"
	"dq/sdk"
)

// run runs a command as its main function does and returns what it printed.
func run(cmd *cobra.Command, args ...string) (status int, output string) {
	var out strings.Builder
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	return runner.Main(cmd, args), out.String()
}

// writeLog writes the log file of producer 1 to a new directory.
func writeLog(t *testing.T, lines ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(runner.ProducerFile(dir, 1), []byte(strings.Join(lines, "\n")), 0o600))
	return dir
}

func TestRunners_MoveALog(t *testing.T) {
	t.Parallel()
	broker := strings.TrimPrefix(brokertest.Start(t, brokertest.Config("")).URL(), "http://")
	api, err := sdk.New(broker)
	require.NoError(t, err)
	for _, topic := range []string{"T1", "T2"} {
		require.NoError(t, api.CreateTopic(t.Context(), topic))
	}
	dir := writeLog(t,
		"21:52:23\tINFO\t\tP1-1\t\tT1",
		"21:52:23 ERROR P1-1 T2",
		"21:52:24\tWARN\t\tP1-2\t\tT1",
		"21:52:24\tDEBUG\t\tP1-2\t\tT2",
		"21:52:25\tünïcode\t\tP1-3\t\tT1") // it may end within a round
	require.NoError(t, os.WriteFile(runner.ConsumerFile(dir, 1), []byte("of an earlier run"), 0o600))

	client, err := sdk.New(broker)
	require.NoError(t, err)
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		written, err := runner.Consumer{
			ID: 1, Topics: []string{"T1", "T2"}, Dir: dir, Timeout: time.Second,
			Ready: func() { close(ready) },
		}.Run(context.Background(), client)
		assert.NoError(t, err)
		assert.Equal(t, 5, written)
	}()
	<-ready
	status, output := run(runner.ProduceCommand(),
		"--id", "1", "--topics", "T1", "T2", "--broker", broker, "--log_loc", dir, "--pause", "1ms")

	assert.Equal(t, 0, status)
	assert.Contains(t, output, "producer 1: sent 5 lines")
	<-done
	got, err := os.ReadFile(runner.ConsumerFile(dir, 1))
	require.NoError(t, err)
	want := []string{"T1     INFO", "T2     ERROR", "T1     WARN", "T2     DEBUG", "T1     ünïcode"}
	assert.ElementsMatch(t, want, strings.Split(strings.TrimSuffix(string(got), "\n"), "\n"))
}

func TestProduce_WrongLogFileIsRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	broker := brokertest.Start(t, brokertest.Config("")).URL()
	good := "21:52:23\tINFO\t\tP1-1\t\tT1"
	tests := []struct{ name, line, want string }{
		{"another topic", "21:52:23\tINFO\t\tP1-1\t\tT3", "expected topic T2, found T3"},
		{"three fields", "21:52:23\tINFO\t\tP1-1", "expected 4 fields (time, message, parallel, topic), found 3"},
		{"five fields", "21:52:23\tIN FO\t\tP1-1\t\tT2", "expected 4 fields (time, message, parallel, topic), found 5"},
		{"an empty line", "", "expected 4 fields (time, message, parallel, topic), found 0"},
		{"no UTF-8", "21:52:23\t\xff\t\tP1-1\t\tT2", "expected valid UTF-8, found other bytes"},
		{
			"a long line", strings.Repeat("x", runner.MaxLineBytes+2),
			fmt.Sprintf("expected at most %d bytes, found more", runner.MaxLineBytes),
		},
	}

	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := writeLog(t, good, test.line, good)

			status, output := run(runner.ProduceCommand(),
				"--id=1", "--topics=T1,T2", "--broker", broker, "--log_loc", dir)

			assert.Equal(t, 1, status)
			file := runner.ProducerFile(dir, 1)
			want := fmt.Sprintf("log file:incompitable: %s:2: %s; nothing was sent", file, test.want)
			assert.Contains(t, output, want)
		})
	}

	t.Cleanup(func() { // nothing was sent, not even a registration
		api, err := sdk.New(broker)
		require.NoError(t, err)
		topics, err := api.Topics(context.Background())
		require.NoError(t, err)
		assert.Empty(t, topics)
	})
}

func TestProduce_FailedRunSaysHowMuchWasSent(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	cfg.MaxMessageBytes = 10
	broker := brokertest.Start(t, cfg).URL()
	dir := writeLog(t, "0 INFO P1-1 T1", "0 INFO P1-2 T1", "0 0123456789X P1-3 T1", "0 INFO P1-4 T1")

	status, output := run(runner.ProduceCommand(), "--id=1", "--topics=T1", "--broker", broker, "--log_loc", dir)

	assert.Equal(t, 1, status)
	assert.Contains(t, output, "sent 2 of 4 lines; line 3 was not sent")
}

func TestCommands_WrongUsageIsRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		cmd  func() *cobra.Command
		args string
		want string
	}{
		{runner.ProduceCommand, "--topics T1", `"id"`},
		{runner.ProduceCommand, "--id 1", `"topics"`},
		{runner.ProduceCommand, "--id x --topics T1", "invalid"},
		{runner.ProduceCommand, "--id 1 --topics", "--topics"},
		{runner.ProduceCommand, "--id 1 --topics T1 T1", "T1 is given twice"},
		{runner.ProduceCommand, "--id 1 --topics T1 --pause -1s", "--pause"},
		{runner.ConsumeCommand, "--id -1 --topics T1", "--id -1"},
		{runner.ConsumeCommand, "--id 1 --topics T1 --broker ftp://x", "--broker"},
		{runner.ConsumeCommand, "--id 1 --topics T1 --nonsense", "nonsense"},
	}

	for _, test := range tests {
		status, output := run(test.cmd(), strings.Fields(test.args)...)

		assert.Equal(t, 2, status, test.args)
		assert.Contains(t, output, test.want, test.args)
	}
}

func TestConsume_FailsWithoutABroker(t *testing.T) {
	t.Parallel()
	client, err := sdk.New("127.0.0.1:1", sdk.WithRetries(0))
	require.NoError(t, err)
	dir := t.TempDir()

	_, err = runner.Consumer{ID: 1, Topics: []string{"T"}, Dir: dir}.Run(t.Context(), client)

	require.ErrorIs(t, err, sdk.ErrUnreachable)
	assert.NoFileExists(t, runner.ConsumerFile(dir, 1), "the file is created after the registration of the consumers")
}
