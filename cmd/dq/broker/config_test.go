package broker_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
)

// These tests set environment variables, so they are not parallel.

func TestTheDefaultsAreAConfiguration(t *testing.T) {
	cfg, unknown, err := broker.LoadConfig()
	require.NoError(t, err)
	assert.Empty(t, unknown)
	assert.Equal(t, "127.0.0.1:5000", cfg.Addr, "on the loopback interface only")
	assert.True(t, bool(cfg.Persist))
}

func TestPersistWorksWithAndWithoutThePrefix(t *testing.T) {
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

func TestAWrongValueIsRefusedWithTheNameOfItsVariable(t *testing.T) {
	for name, value := range map[string]string{
		"PERSIST":              "maybe",
		"DQ_PERSIST":           "",
		"DQ_ADDR":              "5000",
		"DQ_DATA_DIR":          "",
		"DQ_DURABILITY":        "never",
		"DQ_SYNC_INTERVAL":     "0s",
		"DQ_MAX_MESSAGE_BYTES": "33554433",
		"DQ_REQUEST_TIMEOUT":   "5",
		"DQ_SHUTDOWN_TIMEOUT":  "-1s",
		"DQ_LOG_LEVEL":         "loud",
		"DQ_LOG_FORMAT":        "xml",
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

func TestAMisspeltVariableIsReported(t *testing.T) {
	t.Setenv("DQ_DATADIR", "x")
	t.Setenv("DQ_BROKER", "127.0.0.1:5000") // the commands' own
	_, unknown, err := broker.LoadConfig()
	require.NoError(t, err)
	assert.Equal(t, []string{"DQ_DATADIR"}, unknown)
}

func TestTheReadmeHasTheTableOfVariables(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	var table strings.Builder
	require.NoError(t, broker.Usage(&table))
	assert.Contains(t, string(readme), table.String(), "run: go run ./cmd/dq serve --help")
}
