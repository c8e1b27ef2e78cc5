package test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDoc_ListsEveryFile(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)

	var listed []string
	for _, match := range regexp.MustCompile(`(?m)^//   - (\S+\.go): `).FindAllStringSubmatch(string(doc), -1) {
		listed = append(listed, match[1])
	}
	slices.Sort(listed)

	assert.Equal(t, files, listed)
}
