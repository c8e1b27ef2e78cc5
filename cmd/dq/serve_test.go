package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

func TestServe_SIGTERMLetsRequestsInProgressFinish(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	broker := serve(t, addr, t.TempDir())
	api, err := sdk.New(addr)
	require.NoError(t, err)
	producer, err := api.RegisterProducer(t.Context(), "T")
	require.NoError(t, err)
	idle, err := net.Dial("tcp", addr) // never sends a request
	require.NoError(t, err)
	defer idle.Close()
	busy, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer busy.Close()
	body := fmt.Sprintf(`{"topic":"T","producer_id":%d,"message":"late"}`, producer)
	answers := beginRequest(t, busy, len(body))

	ended := make(chan int)
	go func() {
		status, log := broker.end(t, syscall.SIGTERM)
		if status != 0 {
			t.Log(log)
		}
		ended <- status
	}()
	_, err = idle.Read(make([]byte, 1)) // it is closed once the broker shuts down
	require.Error(t, err)
	_, err = io.WriteString(busy, body)
	require.NoError(t, err)

	response, err := http.ReadResponse(answers, nil)
	require.NoError(t, err)
	defer response.Body.Close()
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.Equal(t, 0, <-ended, "exit status")
}

func TestServe_SIGHUPStopsCleanly(t *testing.T) {
	t.Parallel()
	broker := serve(t, freeAddr(t), t.TempDir())

	status, log := broker.end(t, syscall.SIGHUP)

	assert.Equal(t, 0, status, log)
	assert.Contains(t, log, "stopping")
}

func TestServe_NohupOutlivesItsTerminal(t *testing.T) {
	t.Parallel()
	nohup, err := exec.LookPath("nohup")
	if err != nil {
		t.Skip("no nohup here")
	}
	addr := freeAddr(t)
	cmd := dq(t, []string{"DQ_ADDR=" + addr, "DQ_PERSIST=no"}, "serve")
	cmd.Path, cmd.Args = nohup, append([]string{nohup}, cmd.Args...)
	broker := start(t, cmd)
	api, err := sdk.New(addr)
	require.NoError(t, err)
	require.NoError(t, api.CreateTopic(t.Context(), "T"))

	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	poll, err := http.Get("http://" + addr + "/v1/topics/T/messages?from=new&wait=1s")
	require.NoError(t, err)
	require.NoError(t, poll.Body.Close())
	_, err = api.Topics(t.Context())
	status, log := broker.end(t, syscall.SIGTERM)

	assert.NoError(t, err, "it serves on")
	assert.Equal(t, 0, status, log)
	assert.Equal(t, 1, strings.Count(log, "stopping"))
}

// beginRequest sends the head of a produce request, and returns when the broker works on it and waits for the body.
func beginRequest(t *testing.T, conn net.Conn, bodyBytes int) (answers *bufio.Reader) {
	t.Helper()
	_, err := fmt.Fprintf(conn, "POST /producer/produce HTTP/1.1\r\nHost: localhost\r\n"+
		"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", bodyBytes)
	require.NoError(t, err)

	answers = bufio.NewReader(conn)
	line, err := answers.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "100 Continue")
	_, err = answers.ReadString('\n')
	require.NoError(t, err)
	return answers
}

func TestServe_RestartKeepsEverything(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGKILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, dir := freeAddr(t), t.TempDir()
			broker := serve(t, addr, dir)
			api, err := sdk.New(addr)
			require.NoError(t, err)
			producer, consumer := fillAndConsume(t, api)

			broker.end(t, signal)
			serve(t, addr, dir)

			ctx := t.Context()
			topics, err := api.Topics(ctx)
			require.NoError(t, err)
			assert.Equal(t, []string{"b", "a", "c.d"}, topics)
			size, err := api.Size(ctx, "a", consumer)
			require.NoError(t, err)
			assert.EqualValues(t, 60, size)
			require.NoError(t, api.Produce(ctx, "a", producer, "100"))
			for i := 40; i <= 100; i++ {
				message, err := api.Consume(ctx, "a", consumer)
				require.NoError(t, err)
				assert.Equal(t, fmt.Sprint(i), message)
			}
			next, err := api.RegisterConsumer(ctx, "a")
			require.NoError(t, err)
			assert.Equal(t, consumer+1, next)
		})
	}
}

// fillAndConsume creates three topics, produces the numbers from 0 to 99 to one of them, and consumes 40 of these.
func fillAndConsume(t *testing.T, api *sdk.Client) (producer, consumer int64) {
	t.Helper()
	ctx := t.Context()
	for _, topic := range []string{"b", "a", "c.d"} {
		require.NoError(t, api.CreateTopic(ctx, topic))
	}
	producer, err := api.RegisterProducer(ctx, "a")
	require.NoError(t, err)
	consumer, err = api.RegisterConsumer(ctx, "a")
	require.NoError(t, err)

	for i := range 100 {
		require.NoError(t, api.Produce(ctx, "a", producer, fmt.Sprint(i)))
	}
	for range 40 {
		_, err := api.Consume(ctx, "a", consumer)
		require.NoError(t, err)
	}
	return producer, consumer
}

func TestServe_MemoryModeLeavesNoFiles(t *testing.T) {
	t.Parallel()
	addr, dir, temp := freeAddr(t), filepath.Join(t.TempDir(), "data"), t.TempDir()
	broker := serve(t, addr, dir, "PERSIST=no", "TMPDIR="+temp)
	api, err := sdk.New(addr)
	require.NoError(t, err)
	_, err = api.RegisterProducer(t.Context(), "T")
	require.NoError(t, err)

	status, _ := broker.end(t, syscall.SIGTERM)

	assert.Equal(t, 0, status)
	assert.NoDirExists(t, dir)
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestServe_SecondBrokerOnADirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := serve(t, freeAddr(t), dir)
	second := dq(t, []string{"DQ_ADDR=" + freeAddr(t), "DQ_DATA_DIR=" + dir}, "serve")

	out, err := second.CombinedOutput()

	require.Error(t, err)
	assert.Equal(t, 1, second.ProcessState.ExitCode())
	for _, part := range []string{dir, "in use", fmt.Sprint(first.cmd.Process.Pid), "DQ_DATA_DIR"} {
		assert.Contains(t, string(out), part)
	}
}

func TestServe_WrongSettingStopsTheStart(t *testing.T) {
	t.Parallel()
	cmd := dq(t, []string{"PERSIST=perhaps", "DQ_ADDR=" + freeAddr(t), "DQ_DATA_DIR=" + t.TempDir()}, "serve")

	out, err := cmd.CombinedOutput()

	require.Error(t, err)
	assert.Equal(t, 2, cmd.ProcessState.ExitCode())
	assert.Contains(t, string(out), `PERSIST="perhaps": want yes or no`)
}

func TestServe_UnknownVariableIsLogged(t *testing.T) {
	t.Parallel()
	broker := serve(t, freeAddr(t), t.TempDir(), "DQ_DATADIR=x")

	_, log := broker.end(t, syscall.SIGTERM)

	assert.Contains(t, log, "ignoring an unknown variable")
	assert.Contains(t, log, "variable=DQ_DATADIR")
}

func TestServe_ListensOnItsAddressOnly(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	broker := serve(t, addr, t.TempDir())

	addrs := listening(t, broker.cmd.Process.Pid)

	assert.Equal(t, []string{addr}, addrs)
}

// listening returns the addresses on which a process listens, from /proc.
func listening(t *testing.T, pid int) (addrs []string) {
	t.Helper()
	sockets := socketsOf(t, pid)
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		require.NoError(t, err)

		for line := range strings.Lines(string(raw)) {
			fields := strings.Fields(line)
			const listen, unconnected = "0A", "07"
			state, socket := fields[3], "socket:["+fields[9]+"]"
			if sockets[socket] && (state == listen || state == unconnected) {
				addrs = append(addrs, addressOf(table, fields[1]))
			}
		}
	}
	return addrs
}

// socketsOf returns the sockets that a process has open, as /proc names them.
func socketsOf(t *testing.T, pid int) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("no /proc here")
	}

	sockets := make(map[string]bool)
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil {
			sockets[target] = true
		}
	}
	return sockets
}

// addressOf returns an address of a table of /proc/net as HOST:PORT or, if it is not one of TCP on IPv4, as it is.
func addressOf(table, text string) string {
	var a, b, c, d byte
	var port int
	if n, _ := fmt.Sscanf(text, "%02X%02X%02X%02X:%04X", &d, &c, &b, &a, &port); n == 5 && table == "tcp" {
		return fmt.Sprintf("%d.%d.%d.%d:%d", a, b, c, d, port)
	}
	return table + " " + text
}
