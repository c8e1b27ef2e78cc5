package sdk_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

func TestStart_TextIsReadAndWritten(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"first", "new", "42", "2026-01-31T12:00:00.5Z"} {
		start, err := sdk.ParseStart(text)

		require.NoError(t, err)
		assert.Equal(t, text, start.String())
	}
	for _, text := range []string{"", "last", "-1", "2026-01-31"} {
		_, err := sdk.ParseStart(text)

		assert.Error(t, err, text)
	}
}
