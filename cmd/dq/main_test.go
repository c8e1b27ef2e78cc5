package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"dq/cmd/dq/cli"
)

// runMain is the variable that makes a process of this test binary run dq instead of the tests.
const runMain = "DQ_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		os.Unsetenv(runMain)
		os.Exit(cli.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// dq returns a command that runs dq in a process of its own.
func dq(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(append(os.Environ(), runMain+"=1"), env...)
	return cmd
}

// process is a broker in a process of its own.
type process struct {
	cmd *exec.Cmd
	log chan string // receives the whole log when the process has ended
}

// serve starts a broker on addr and returns when it is ready.
func serve(t *testing.T, addr, dir string, env ...string) *process {
	t.Helper()
	return start(t, dq(t, append(env, "DQ_ADDR="+addr, "DQ_DATA_DIR="+dir), "serve"))
}

// start starts a command that runs a broker, and returns when it is ready.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	lines := bufio.NewReader(stderr)
	var log strings.Builder
	for {
		line, err := lines.ReadString('\n')
		log.WriteString(line)
		require.NoError(t, err, "the broker did not start:\n%s", &log)
		if strings.Contains(line, "dq is ready") {
			break
		}
	}

	p := &process{cmd: cmd, log: make(chan string, 1)}
	go func() {
		rest, _ := io.ReadAll(lines)
		p.log <- log.String() + string(rest)
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return p
}

// end sends signal to the process and returns its exit status, which is -1 if the signal ended it, and its log.
func (p *process) end(t *testing.T, signal syscall.Signal) (status int, log string) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(signal))
	log = <-p.log
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode(), log
}

// freeAddr returns an address of the loopback interface on which nobody listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
