package broker_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
	"dq/sdk"
)

// smallDisk returns the directory of a file system of 24 MiB. It skips the test where none can be mounted.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Skip("mounting a file system needs root:", err)
	}
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(dir, 0)) })
	return dir
}

// fillDisk writes a file until there is not one byte left.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	for block := make([]byte, 4096); err == nil; {
		_, err = file.Write(block)
	}
	require.ErrorIs(t, errors.Join(err, file.Close()), syscall.ENOSPC)
}

// readiness returns the status and the body of /readyz.
func readiness(t *testing.T, url string) (status int, body string) {
	t.Helper()
	answer, err := http.Get(url + "/readyz")
	require.NoError(t, err)
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(raw)
}

func TestDisk_BrokerStartsOnAFullDiskSoThatOneCanPurge(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	dir := filepath.Join(disk, "data")
	withBroker(t, dir, func(api *sdk.Client) {
		create(t, api.Topic("T"))
		for range 10 {
			_, err := api.Topic("T").Produce(t.Context(), sdk.Text(strings.Repeat("x", 500_000)))
			require.NoError(t, err)
		}
		_, err := api.Topic("T").Subscribe(t.Context(), sdk.ConsumerSpec{Name: "c", Start: sdk.AtFirst})
		require.NoError(t, err)
	})
	fillDisk(t, filepath.Join(disk, "ballast"))

	b := brokertest.Start(t, brokertest.Config(dir))
	api := clientOf(t, b)
	status, body := readiness(t, b.URL())
	_, full := api.Topic("T").Produce(t.Context(), sdk.Text("x"))
	records, _ := fetch(t, api.Topic("T").Subscription("c"), 1)

	assert.Equal(t, http.StatusOK, status, "a load balancer leaves the broker to its readers")
	assert.Contains(t, body, `"status":"success","accepts_data":false,"message":"the broker's disk is full`)
	assert.ErrorIs(t, full, sdk.ErrStorageFull)
	assert.Len(t, records, 1)

	_, err := api.Topic("T").Purge(t.Context(), 0)
	require.NoError(t, err)

	assert.Eventually(t, func() bool {
		_, body := readiness(t, b.URL())
		return body == `{"status":"success","accepts_data":true}`
	}, 20*time.Second, 10*time.Millisecond, "what was purged leaves room")
	_, err = api.Topic("T").Produce(t.Context(), sdk.Text("x"))
	assert.NoError(t, err)
}

func TestDisk_TopicsAreDescribedAndDeletedAfterAFailedWrite(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	cfg := brokertest.Config(filepath.Join(disk, "data"))
	cfg.RequestTimeout = 3 * time.Second
	b := brokertest.Start(t, cfg)
	api, err := sdk.New(b.URL(), sdk.WithRetries(0))
	require.NoError(t, err)
	defer api.Close()
	create(t, api.Topic("T"))
	create(t, api.Topic("U"))
	subscribe := func(n int) error {
		_, err := api.Topic("T").Subscribe(t.Context(), sdk.ConsumerSpec{Name: "c" + strconv.Itoa(n), Start: sdk.AtFirst})
		return err
	}
	require.NoError(t, subscribe(0))

	// Each registration is written, until one cannot be. Ballast takes what the broker frees meanwhile.
	ballast := filepath.Join(disk, "ballast")
	for n := 1; err == nil || errors.Is(err, sdk.ErrStorageFull); n++ {
		fillDisk(t, ballast+strconv.Itoa(n))
		err = subscribe(n)
	}
	files, err := filepath.Glob(ballast + "*")
	require.NoError(t, err)
	for _, file := range files {
		require.NoError(t, os.Remove(file))
	}
	require.Eventually(t, func() bool {
		_, err := api.Topic("T").Produce(t.Context(), sdk.Text("x"))
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, subscribe(0), "it exists")
	require.NoError(t, subscribe(10_000))
	described, err := api.Topic("T").Describe(t.Context())
	require.NoError(t, err)

	assert.NotZero(t, described.Consumers)
	assert.NoError(t, api.Topic("T").Delete(t.Context()))
	assert.NoError(t, api.Topic("U").Delete(t.Context()))
}

func clientOf(t *testing.T, b *broker.Broker) *sdk.Client {
	t.Helper()
	api, err := sdk.New(b.URL())
	require.NoError(t, err)
	t.Cleanup(api.Close)
	return api
}

func TestDisk_PurgeOnAFullDiskIsDoneOrRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t)
	b := brokertest.Start(t, brokertest.Config(filepath.Join(disk, "data")))
	api, err := sdk.New(b.URL(), sdk.WithRetries(0))
	require.NoError(t, err)
	defer api.Close()
	topic := api.Topic("T")
	create(t, topic)
	for range 10 {
		_, err := topic.Produce(t.Context(), sdk.Text(strings.Repeat("x", 500_000)))
		require.NoError(t, err)
	}
	for i := range 2 { // the second takes what the broker frees
		fillDisk(t, filepath.Join(disk, "ballast"+strconv.Itoa(i)))
		_, err := os.Stat(filepath.Join(disk, "data", "spare"))
		for ; i == 0 && err == nil; _, err = os.Stat(filepath.Join(disk, "data", "spare")) {
			time.Sleep(time.Millisecond)
		}
	}

	_, part := topic.Purge(t.Context(), 5)
	before, err := topic.Describe(t.Context())
	require.NoError(t, err)
	removed, all := topic.Purge(t.Context(), 0)
	after, err := topic.Describe(t.Context())
	require.NoError(t, err)

	assert.ErrorIs(t, part, sdk.ErrStorageFull, "the engine may have to write a part again")
	assert.EqualValues(t, 10, before.Messages, "a purge that is refused removes nothing")
	require.NoError(t, all)
	assert.EqualValues(t, 10, removed)
	assert.Zero(t, after.Messages)
	assert.Eventually(t, func() bool {
		receipt, err := topic.Produce(t.Context(), sdk.Text("x"))
		return err == nil && receipt.Sequence == 11
	}, 20*time.Second, 10*time.Millisecond, "what was purged leaves room")
}
