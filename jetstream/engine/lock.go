package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// lockFile, in the data directory, is locked by the process that uses it, and holds
// its id.
const lockFile = "dq.lock"

// lockDir creates dir and locks it for this process. The operating system releases
// the lock when the process ends, however that ends. Errors: [*DirInUseError].
func lockDir(dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("create the data directory: %w", err)
	}

	path := filepath.Join(dir, lockFile)
	lock := flock.New(path)
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if !locked {
		inUse := &DirInUseError{Dir: dir}
		if pid, err := os.ReadFile(path); err == nil && len(pid) > 0 {
			inUse.Owner = fmt.Sprintf(" (%s)", strings.TrimSpace(string(pid)))
		}
		return nil, inUse
	}

	if err := os.WriteFile(path, fmt.Appendf(nil, "pid %d\n", os.Getpid()), 0o600); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("write the lock file of the data directory: %w", err)
	}
	return lock, nil
}
