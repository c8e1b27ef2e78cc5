package engine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFormat_DirSaysItsVersionAndOneThatDoesNotIsOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	fill(t, s, "S", "a")
	s.Shutdown()
	format := filepath.Join(dir, formatFile)
	created, err := os.ReadFile(format)
	require.NoError(t, err)
	require.NoError(t, os.Remove(format))

	s = start(t, dir)

	assert.EqualValues(t, 1, count(t, s, "S"))
	assert.Equal(t, strconv.Itoa(DataFormat)+"\n", string(created))
	assert.FileExists(t, format, "from now on the directory says what it is")
}

func TestFormat_NewerOrUnreadableVersionIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, formatFile)
	for text, want := range map[string]error{
		"999\n":  &NewerFormatError{Dir: dir, Found: 999, Supported: DataFormat},
		"":       &UnreadableFormatError{File: path, Text: ""},
		"one\n":  &UnreadableFormatError{File: path, Text: "one\n"},
		"-1":     &UnreadableFormatError{File: path, Text: "-1"},
		"1\n1\n": &UnreadableFormatError{File: path, Text: "1\n1\n"},
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))

		_, err := Start(options(dir))

		assert.Equal(t, want, err, "%q", text)
		left, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, text, string(left), "a refused directory stays as it is")
		assert.NoFileExists(t, filepath.Join(dir, spareFile))
	}

	newer := &NewerFormatError{Dir: dir, Found: 999, Supported: DataFormat}
	assert.Contains(t, newer.Error(), "has format version 999")
	assert.Contains(t, newer.Error(), "supports versions up to "+strconv.Itoa(DataFormat))
}

// change replaces from by to in the settings in dir, and writes their checksum.
func change(t *testing.T, dir, key, from, to string) {
	t.Helper()
	file := filepath.Join(dir, settingsFile)
	settings, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(settings), from)

	settings = []byte(strings.Replace(string(settings), from, to, 1))
	require.NoError(t, os.WriteFile(file, settings, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, checksumFile), []byte(checksum(key, settings)), 0o600))
}

func TestFormat_StreamOrConsumerOfANewerEngineIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, consumer string
		from, to       string
		level          string
	}{
		{name: "stream", from: `"_nats.req.level":"0"`, to: `"_nats.req.level":"99"`, level: "99"},
		{name: "no level", from: `"_nats.req.level":"0"`, to: `"_nats.req.level":"x"`, level: "x"},
		{name: "unknown setting", from: `"name":"S"`, to: `"name":"S","colour":"red"`},
		{name: "consumer", consumer: "C", from: `"_nats.req.level":"0"`, to: `"_nats.req.level":"99"`, level: "99"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := start(t, dir)
			fill(t, s, "S", "a")
			_, err := connect(t, s).CreateConsumer(t.Context(), "S", jetstream.ConsumerConfig{Durable: "C"})
			require.NoError(t, err)
			s.Shutdown()
			changed, key := streamDir(dir, "S"), "S"
			if test.consumer != "" {
				changed, key = filepath.Join(changed, consumersDir, test.consumer), "S/"+test.consumer
			}
			change(t, changed, key, test.from, test.to)

			_, err = Start(options(dir))

			var newer *NewerEngineError
			require.ErrorAs(t, err, &newer)
			assert.Equal(t, filepath.Join(changed, settingsFile), newer.File)
			assert.Equal(t, test.level, newer.Level)
			assert.Equal(t, server.JSApiLevel, newer.Supported)
			assert.Equal(t, test.level == "", newer.Err != nil)
		})
	}
}
