package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/sdk"
)

// harmful has what a terminal obeys instead of showing it: ESC, BEL, CR, a C1 control and a bidi override.
const harmful = "\x1b]0;pwned\a red \x1b[31m\r over \u009b2J \u202eleft"

func TestOutput_TerminalShowsControlCharactersEscaped(t *testing.T) {
	t.Parallel()
	args := harmfulMessage(t)
	var out, errs strings.Builder
	terminal := streams{out: &out, err: &errs, outIsTerminal: true, errIsTerminal: true}

	consumed := run(t.Context(), args, terminal)
	refused := run(t.Context(), []string{"topic", "describe", harmful, "--broker", args[len(args)-1]}, terminal)

	const shown = `\x1b]0;pwned\a red \x1b[31m\r over \u009b2J \u202eleft`
	assert.Equal(t, exitOK, consumed)
	assert.Equal(t, "Grüße\t"+shown+"\n", out.String(), "text that harms nothing is shown as it is")
	assert.Equal(t, exitRefused, refused)
	assert.NotContains(t, errs.String(), "\x1b")
	assert.NotContains(t, errs.String(), "\u202e")
}

func TestOutput_ProgramsGetMessagesAsTheyAre(t *testing.T) {
	t.Parallel()
	args := harmfulMessage(t)

	out, _, status := dq(t.Context(), "", args...)

	assert.Equal(t, exitOK, status)
	assert.Equal(t, "Grüße\t"+harmful+"\n", out)
}

// harmfulMessage starts a broker, and returns the arguments that print its only message.
func harmfulMessage(t *testing.T) (args []string) {
	t.Helper()
	url := brokertest.Start(t, brokertest.Config("")).URL()
	api, err := sdk.New(url)
	require.NoError(t, err)
	producer, err := api.RegisterProducer(t.Context(), "T")
	require.NoError(t, err)
	_, err = api.RegisterConsumer(t.Context(), "T")
	require.NoError(t, err)
	require.NoError(t, api.Produce(t.Context(), "T", producer, "Grüße\t"+harmful))
	return []string{"consume", "T", "--id", "0", "--count", "1", "--broker", url}
}
