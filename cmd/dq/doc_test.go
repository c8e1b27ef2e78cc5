package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDoc_PackageCommentsNameTheFilesOfTheirFolders holds every doc.go against its folder: each file that a comment
// names exists, and a comment that lists files leaves none out.
func TestDoc_PackageCommentsNameTheFilesOfTheirFolders(t *testing.T) {
	t.Parallel()
	require.NoError(t, filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Base(path) == "doc.go" {
			checkDoc(t, path)
		}
		return err
	}))
}

func checkDoc(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	comment, _, found := strings.Cut(string(text), "\npackage ")
	require.True(t, found, path)
	named := make(map[string]bool)
	for _, name := range regexp.MustCompile(`\b[a-z0-9_]+\.go\b`).FindAllString(comment, -1) {
		named[name] = true
	}

	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.go"))
	require.NoError(t, err)
	var sources, tests []string
	for _, file := range files {
		name := filepath.Base(file)
		switch {
		case strings.HasSuffix(name, "_test.go"):
			tests = append(tests, name)
		case name != "doc.go":
			sources = append(sources, name)
		}
	}
	if len(sources) == 0 { // a folder of tests
		sources = tests
	}

	delete(named, "doc.go")
	for name := range named {
		assert.FileExists(t, filepath.Join(filepath.Dir(path), name), "%s names it", path)
	}
	if strings.Contains(comment, "//   - ") || strings.Contains(comment, "The files") {
		for _, name := range sources {
			assert.True(t, named[name], "%s does not name %s", path, name)
		}
	}
}
