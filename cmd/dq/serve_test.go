package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

func TestSIGTERMFinishesWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	broker := serve(t, addr, t.TempDir())
	api, err := sdk.New(addr)
	require.NoError(t, err)
	ctx := context.Background()
	producer, err := api.RegisterProducer(ctx, "T")
	require.NoError(t, err)

	idle, err := net.Dial("tcp", addr) // one that never asks for anything
	require.NoError(t, err)
	defer idle.Close()
	busy, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer busy.Close()
	body := fmt.Sprintf(`{"topic":"T","producer_id":%d,"message":"late"}`, producer)
	head := fmt.Sprintf("POST /producer/produce HTTP/1.1\r\nHost: dq\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(body))
	_, err = io.WriteString(busy, head)
	require.NoError(t, err)
	answers := bufio.NewReader(busy)
	line, err := answers.ReadString('\n') // the broker has begun to work on it
	require.NoError(t, err)
	require.Contains(t, line, "100 Continue")
	_, err = answers.ReadString('\n')
	require.NoError(t, err)

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

func TestARestartKeepsEverything(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGKILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, dir := freeAddr(t), t.TempDir()
			broker := serve(t, addr, dir)
			api, err := sdk.New(addr)
			require.NoError(t, err)
			ctx := context.Background()
			for _, topic := range []string{"b", "a", "c.d"} {
				require.NoError(t, api.CreateTopic(ctx, topic))
			}
			producer, err := api.RegisterProducer(ctx, "a")
			require.NoError(t, err)
			consumer, err := api.RegisterConsumer(ctx, "a")
			require.NoError(t, err)
			for i := range 100 {
				require.NoError(t, api.Produce(ctx, "a", producer, fmt.Sprint(i)))
			}
			for range 40 {
				_, err := api.Consume(ctx, "a", consumer)
				require.NoError(t, err)
			}
			broker.end(t, signal)
			serve(t, addr, dir)

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

func TestMemoryModeLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	addr, dir, temp := freeAddr(t), filepath.Join(t.TempDir(), "data"), t.TempDir()
	broker := serve(t, addr, dir, "PERSIST=no", "TMPDIR="+temp)
	api, err := sdk.New(addr)
	require.NoError(t, err)
	_, err = api.RegisterProducer(context.Background(), "T")
	require.NoError(t, err)
	status, _ := broker.end(t, syscall.SIGTERM)
	assert.Equal(t, 0, status)
	assert.NoDirExists(t, dir)
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestASecondBrokerOnADirectoryIsRefused(t *testing.T) {
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

func TestAWrongSettingStopsTheStart(t *testing.T) {
	t.Parallel()
	cmd := dq(t, []string{"PERSIST=perhaps", "DQ_ADDR=" + freeAddr(t), "DQ_DATA_DIR=" + t.TempDir()}, "serve")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Equal(t, 2, cmd.ProcessState.ExitCode())
	assert.Contains(t, string(out), `PERSIST="perhaps": want yes or no`)
}

func TestABrokerListensOnItsAddressOnly(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	broker := serve(t, addr, t.TempDir())
	assert.Equal(t, []string{addr}, listening(t, broker.cmd.Process.Pid))
}

// listening is the addresses on which a process listens, from /proc.
func listening(t *testing.T, pid int) (addrs []string) {
	t.Helper()
	sockets := make(map[string]bool)
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("no /proc here")
	}
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil {
			sockets[target] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		require.NoError(t, err)
		for line := range strings.Lines(string(raw)) {
			fields := strings.Fields(line)
			const listen, unconnected = "0A", "07"
			if state := fields[3]; state != listen && state != unconnected || !sockets["socket:["+fields[9]+"]"] {
				continue
			}
			var a, b, c, d byte
			var port int
			if n, _ := fmt.Sscanf(fields[1], "%02X%02X%02X%02X:%04X", &d, &c, &b, &a, &port); n == 5 && table == "tcp" {
				addrs = append(addrs, fmt.Sprintf("%d.%d.%d.%d:%d", a, b, c, d, port))
			} else {
				addrs = append(addrs, table+" "+fields[1])
			}
		}
	}
	return addrs
}
