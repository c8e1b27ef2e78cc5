package verify_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/verify/check"
	"dq/cmd/dq/verify/history"
)

// promised is a row of a table of PROMISES.md.
type promised struct {
	row   string
	names []string // what its last column names
}

// readPromises returns the rows of all tables of PROMISES.md. Text outside tables
// makes no promise.
func readPromises(t *testing.T) (rows []promised) {
	t.Helper()
	page, err := os.ReadFile("PROMISES.md")
	require.NoError(t, err)
	lines := strings.Split(string(page), "\n")
	for i, line := range lines {
		heading := i+1 < len(lines) && strings.HasPrefix(lines[i+1], "| ---")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ---") {
			continue
		}

		cells := strings.Split(strings.Trim(line, "| "), " | ")
		last := cells[len(cells)-1]
		if heading {
			assert.Equal(t, "checks", last, "the last column of a table says what checks its rows: %s", line)
			continue
		}
		p := promised{row: line}
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(last, -1) {
			p.names = append(p.names, name[1])
		}
		rows = append(rows, p)
	}
	return rows
}

func TestPromises_EachRowNamesWhatChecksIt(t *testing.T) {
	t.Parallel()
	known := slices.Concat(check.All, history.AllFaults, testNames(t))

	for _, p := range readPromises(t) {
		nothing := strings.Contains(p.row, "| nothing | nothing | nothing |") // that is no promise
		assert.True(t, len(p.names) > 0 || nothing,
			"name in the last column the check of dq verify, or the test, that would see this broken: %s", p.row)
		for _, name := range p.names {
			assert.Contains(t, known, name, "there is no check, fault or test of that name: %s", p.row)
		}
	}
}

func TestPromises_EachCheckIsNamedByARow(t *testing.T) {
	t.Parallel()
	var named []string
	for _, p := range readPromises(t) {
		named = append(named, p.names...)
	}

	for _, name := range slices.Concat(check.All, []string{history.FaultKill, history.FaultDisk, history.FaultPause}) {
		assert.Contains(t, named, name, "PROMISES.md has a row that says what this checks")
	}
}

// testNames returns the names of all tests of this module.
func testNames(t *testing.T) (names []string) {
	t.Helper()
	declaration := regexp.MustCompile(`(?m)^func (Test\w+)\(t `)
	require.NoError(t, filepath.WalkDir("../../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range declaration.FindAllStringSubmatch(string(text), -1) {
			names = append(names, match[1])
		}
		return err
	}))
	return names
}
