package broker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
	"dq/jetstream/engine/enginetest"
	"dq/sdk"
)

// elsewhere returns the configuration of a broker before a cluster.
func elsewhere(c *enginetest.Cluster) broker.Config {
	cfg := brokertest.Config("unused") // a server that was stopped needs files to take part again
	cfg.NatsURL, cfg.Replicas = c.URL(), 3
	return cfg
}

// startCluster starts a cluster without any data.
func startCluster(t *testing.T) *enginetest.Cluster {
	t.Helper()
	cluster, err := enginetest.Start(3, nil)
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster
}

// startTogether starts three brokers at the same time, and returns their URLs.
func startTogether(t *testing.T, cluster *enginetest.Cluster) (urls []string) {
	t.Helper()
	urls = make([]string, 3)
	var starts sync.WaitGroup
	for i := range urls {
		starts.Go(func() { urls[i] = brokertest.Start(t, elsewhere(cluster)).URL() })
	}
	starts.Wait()
	return urls
}

func TestElsewhere_BrokersThatStartTogetherOnANewClusterComeUp(t *testing.T) {
	t.Parallel()

	urls := startTogether(t, startCluster(t))

	for i, url := range urls {
		api, err := sdk.New(url)
		require.NoError(t, err)
		assert.NoError(t, api.CreateTopic(t.Context(), fmt.Sprint("T", i)))
		topics, err := api.Topics(t.Context())
		require.NoError(t, err)
		assert.Len(t, topics, i+1)
		id, err := api.RegisterProducer(t.Context(), "T0")
		require.NoError(t, err)
		assert.EqualValues(t, i, id)
	}
	for i, url := range urls {
		api, err := sdk.New(url)
		require.NoError(t, err)
		assert.NoError(t, api.Topic(fmt.Sprint("T", i)).Delete(t.Context()), "it looks for what belongs to the topic")
	}
}

func TestElsewhere_WithoutAQuorumBrokersWaitAndSayWhy(t *testing.T) {
	if os.Getenv("DQ_TEST_LONG") == "" {
		t.Skip("it takes half a minute: set DQ_TEST_LONG, as .ci/test long does")
	}
	t.Parallel()
	cluster := startCluster(t)
	urls := startTogether(t, cluster)

	cluster.Stop(1)
	cluster.Stop(2)
	addr := freeAddr(t)
	started := make(chan error, 1)
	go func() {
		cfg := elsewhere(cluster)
		cfg.Addr = addr
		b, err := broker.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Cleanup(func() { _ = b.Stop(context.Background()) })
		}
		started <- err
	}()
	for _, url := range []string{urls[0], "http://" + addr} {
		status, text := awaitReady(t, url, http.StatusServiceUnavailable)
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.Contains(t, text, "NATS")
	}
	status, _ := get(t, "http://"+addr+"/v1/topics")
	assert.Equal(t, http.StatusServiceUnavailable, status)

	require.NoError(t, cluster.Run(1))
	require.NoError(t, cluster.Run(2))
	require.NoError(t, <-started)
	for _, url := range append(urls, "http://"+addr) {
		status, text := awaitReady(t, url, http.StatusOK)
		assert.Equal(t, http.StatusOK, status, text)
	}
}

func TestElsewhere_BrokerThatNoServerCanHelpEndsAtOnce(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	cfg.NatsURL = "nats://user:se#cret@127.0.0.1:1"

	_, err := broker.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))

	require.ErrorContains(t, err, "DQ_NATS_URL")
	assert.NotContains(t, err.Error(), "cret")
}

func TestElsewhere_WaitingBrokerStopsWhenItIsTold(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	cfg.NatsURL, cfg.Addr = "nats://127.0.0.1:1", freeAddr(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := broker.Start(ctx, cfg, slog.New(slog.DiscardHandler))
		ended <- err
	}()

	_, text := awaitReady(t, "http://"+cfg.Addr, http.StatusServiceUnavailable)
	stop()

	assert.ErrorIs(t, <-ended, context.Canceled)
	assert.Contains(t, text, "DQ_NATS_URL")
}

// freeAddr returns an address of the loopback interface that is free.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// awaitReady asks a broker whether it is ready until it answers with the status want, or a minute has passed. It
// returns the last answer.
func awaitReady(t *testing.T, url string, want int) (status int, text string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if status, text = get(t, url+"/readyz"); status == want && !strings.Contains(text, "is connecting") {
			break
		}
	}
	return status, text
}

// get returns the status and the detail of an answer; 0 if there is none.
func get(t *testing.T, url string) (status int, detail string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var problem struct{ Detail string }
	_ = json.Unmarshal(body, &problem)
	return response.StatusCode, problem.Detail
}
