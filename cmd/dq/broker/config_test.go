package broker_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
)

// These tests set environment variables, so they are not parallel.

func TestConfig_DefaultsAreValid(t *testing.T) {
	cfg, unknown, err := broker.LoadConfig()

	require.NoError(t, err)
	assert.Empty(t, unknown)
	assert.Equal(t, "127.0.0.1:5000", cfg.Addr, "on the loopback interface only")
	assert.True(t, bool(cfg.Persist))
	assert.True(t, filepath.IsAbs(cfg.DataDir), cfg.DataDir)
}

func TestConfig_PersistWorksWithAndWithoutPrefix(t *testing.T) {
	for _, name := range []string{"PERSIST", "DQ_PERSIST"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "no")

			cfg, unknown, err := broker.LoadConfig()

			require.NoError(t, err)
			assert.Empty(t, unknown)
			assert.False(t, bool(cfg.Persist))
		})
	}
}

func TestConfig_WrongValueIsRefusedByName(t *testing.T) {
	for name, value := range map[string]string{
		"PERSIST":                     "maybe",
		"DQ_PERSIST":                  "",
		"DQ_ADDR":                     "5000",
		"DQ_DATA_DIR":                 "",
		"DQ_DURABILITY":               "never",
		"DQ_SYNC_INTERVAL":            "0s",
		"DQ_MAX_MESSAGE_BYTES":        "33554433",
		"DQ_CORS_ORIGINS":             "example.com",
		"DQ_REQUEST_TIMEOUT":          "5",
		"DQ_MAX_CONNECTIONS_PER_ADDR": "most",
		"DQ_SHUTDOWN_TIMEOUT":         "-1s",
		"DQ_DRAIN_DELAY":              "-1s",
		"DQ_REPLICAS":                 "6",
		"DQ_NATS_ADDR":                "127.0.0.1:4222", // without a user
		"DQ_TLS_CERT":                 "cert.pem",       // without a key
		"DQ_TLS_CLIENT_CA":            "ca.pem",         // without a certificate
		"DQ_LOG_LEVEL":                "loud",
		"DQ_LOG_FORMAT":               "xml",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)

			_, _, err := broker.LoadConfig()

			require.Error(t, err)
			assert.Contains(t, err.Error(), name)
			if value != "" {
				assert.Contains(t, err.Error(), value)
			}
		})
	}
}

func TestConfig_AddressBeyondThisMachineNeedsTokensOrOpen(t *testing.T) {
	for _, test := range []struct {
		name, addr, tokens, open string
		refused, opens           bool
	}{
		{name: "nothing protects it", addr: ":5000", open: "no", refused: true},
		{name: "tokens protect it", addr: ":5000", tokens: "tokens.json", open: "no"},
		{name: "it may be open", addr: "0.0.0.0:5000", open: "yes", opens: true},
		{name: "open has no effect with tokens", addr: ":5000", tokens: "tokens.json", open: "yes"},
		{name: "open has no effect on this machine", addr: "localhost:5000", open: "yes"},
		{name: "it is this machine", addr: "[::1]:5000", open: "no"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("DQ_ADDR", test.addr)
			t.Setenv("DQ_TOKENS", test.tokens)
			t.Setenv("DQ_OPEN", test.open)

			cfg, _, err := broker.LoadConfig()

			if test.refused {
				assert.ErrorContains(t, err, "DQ_ADDR="+test.addr)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.opens, bool(cfg.Open))
		})
	}
}

func TestConfig_OriginsAreParsed(t *testing.T) {
	for value, want := range map[string]broker.Origins{
		"*":    "*",
		"none": "",
		"":     "",
		"https://*.example.com, http://localhost:3000/": "https://*.example.com, http://localhost:3000/",
	} {
		t.Setenv("DQ_CORS_ORIGINS", value)

		cfg, _, err := broker.LoadConfig()

		require.NoError(t, err)
		assert.Equal(t, want, cfg.CORSOrigins, "DQ_CORS_ORIGINS=%s", value)
	}
}

func TestConfig_MisspeltVariableIsReported(t *testing.T) {
	t.Setenv("DQ_DATADIR", "x")
	t.Setenv("DQ_BROKER", "127.0.0.1:5000") // a variable of the commands

	_, unknown, err := broker.LoadConfig()

	require.NoError(t, err)
	assert.Equal(t, []string{"DQ_DATADIR"}, unknown)
}

func TestConfig_ReadmeHasTheTable(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)

	var table strings.Builder
	require.NoError(t, broker.Usage(&table))

	assert.Contains(t, string(readme), table.String(), "run: go run ./cmd/dq serve --help")
}
