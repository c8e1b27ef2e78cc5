package cli

import (
	"path/filepath"
	"testing"
)

func TestCLI_VerifyChecksAndReplaysAHistory(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	history := filepath.Join(t.TempDir(), "history.jsonl")

	s.run(
		command{
			args:   "verify --count 1 --clients 20 --faults all --history " + history,
			stdout: []string{"all promises were kept"},
			stderr: "verify: left out are kill, restart, pause, disk, files",
		},
		command{args: "verify --replay " + history, stdout: []string{"all promises were kept"}},
	)
}

func TestCLI_VerifyRefusesWrongFlags(t *testing.T) {
	t.Parallel()
	s := startSession(t)
	missing := filepath.Join(t.TempDir(), "none")

	s.run(
		command{args: "verify --storage disk", status: exitUsage, stderr: "want file or memory"},
		command{args: "verify --self --facades 0", status: exitUsage, stderr: "want at least 1"},
		command{args: "verify --faults kill", status: exitUsage, stderr: "add --self"},
		command{args: "verify ftp://x", status: exitUsage, stderr: "want HOST:PORT or a URL"},
		command{args: "verify --replay " + missing, status: exitUsage, stderr: "no such file"},
	)
}
