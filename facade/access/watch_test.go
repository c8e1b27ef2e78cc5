package access

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Events come for every file of a directory, and the poll comes without an event.
func TestWatch_OnlyAChangeIsLoadedAndAMistakeReportedOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	write := func(content string) { require.NoError(t, os.WriteFile(path, []byte(content), 0o600)) }
	write("good")
	loads := 0
	w, err := watch("test", []string{path}, func(contents [][]byte) error {
		loads++
		if string(contents[0]) != "good" {
			return assert.AnError
		}
		return nil
	}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	w.close() // the test calls check itself

	for _, step := range []struct {
		do      func()
		changed bool
		loads   int
	}{
		{func() {}, false, 1},
		{func() { write("good") }, false, 1},
		{func() { write("bad") }, true, 2},
		{func() {}, false, 2},
		{func() { require.NoError(t, os.Remove(path)) }, true, 2},
		{func() {}, false, 2},
		{func() { write("good") }, true, 3},
	} {
		step.do()
		changed, _ := w.check()

		assert.Equal(t, step.changed, changed)
		assert.Equal(t, step.loads, loads)
	}
}
