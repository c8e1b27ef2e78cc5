package jetstream_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDoc_ListsTheFilesOfItsFolder(t *testing.T) {
	t.Parallel()

	for _, dir := range []string{".", "engine"} {
		assert.Equal(t, sourceFiles(t, dir), listedFiles(t, dir), dir)
	}
}

// sourceFiles returns the names of a folder's Go files, without tests.
func sourceFiles(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	var names []string
	for _, path := range paths {
		if !strings.HasSuffix(path, "_test.go") {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return names
}

// listedFiles returns the names in the list of files of a folder's doc.go.
func listedFiles(t *testing.T, dir string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "doc.go"))
	require.NoError(t, err)
	var names []string
	for _, item := range regexp.MustCompile(`(?m)^//   - ([^:]+):`).FindAllStringSubmatch(string(text), -1) {
		names = append(names, strings.Split(item[1], ", ")...)
	}
	slices.Sort(names)
	return names
}
