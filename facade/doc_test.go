package facade

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDoc_ListsEveryFile(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)

	var listed, present []string
	for _, match := range regexp.MustCompile(`(?m)^//   - (\S+\.go): .+\?$`).FindAllStringSubmatch(string(doc), -1) {
		listed = append(listed, match[1])
	}
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			present = append(present, file)
		}
	}

	assert.Equal(t, present, listed, "both are sorted")
}
