package broker_test

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
	"dq/sdk"
)

func TestBroker_FailedStartReleasesTheDirectory(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config(t.TempDir())
	cfg.Replicas = 3 // a single server has no place for them

	_, err := broker.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))

	require.ErrorContains(t, err, "replicas")
	withBroker(t, cfg.DataDir, func(api *sdk.Client) { create(t, api.Topic("T")) })
}

func TestBroker_PortInUseIsNamed(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	cfg.Addr = strings.TrimPrefix(brokertest.Start(t, brokertest.Config("")).URL(), "http://")

	_, err := broker.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))

	assert.ErrorContains(t, err, "listen on DQ_ADDR="+cfg.Addr)
}

func TestBroker_NATSPortInUseIsNamed(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	cfg := brokertest.Config("")
	cfg.NATSAddr, cfg.NATSUser, cfg.NATSPassword = taken.Addr().String(), "u", "p"

	_, err = broker.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))

	assert.ErrorContains(t, err, "listen on DQ_NATS_ADDR="+cfg.NATSAddr)
}

func TestBroker_OpenAddressIsLogged(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config("")
	cfg.Open, cfg.LogFormat = true, broker.LogJSON
	var log bytes.Buffer

	b, err := broker.Start(t.Context(), cfg, broker.NewLogger(&log, cfg))
	require.NoError(t, err)
	require.NoError(t, b.Stop(t.Context()))

	assert.Contains(t, log.String(), `"level":"WARN","msg":"everybody who can reach this address may do everything`)
	assert.Contains(t, log.String(), `"msg":"dq is ready","url":"`+b.URL()+`","data":"memory","durability":"interval"`)
}

func TestBroker_StopsOnceAndAnswersNoMore(t *testing.T) {
	t.Parallel()
	b, err := broker.Start(t.Context(), brokertest.Config(""), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	answer, err := http.Get(b.URL() + "/readyz")
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	assert.Equal(t, http.StatusOK, answer.StatusCode)

	first, second := b.Stop(t.Context()), b.Stop(t.Context())

	require.NoError(t, first)
	require.NoError(t, second)
	assert.Empty(t, b.Failed())
	_, err = http.Get(b.URL() + "/readyz")
	assert.Error(t, err)
}
