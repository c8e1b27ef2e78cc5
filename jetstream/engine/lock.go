package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// DirInUseError is a data directory that another process holds.
type DirInUseError struct {
	Dir   string
	Owner string // the other process's id, if it is known
}

func (e *DirInUseError) Error() string {
	return fmt.Sprintf("data directory %s is in use by another dq process%s: stop it, or choose another directory with DQ_DATA_DIR",
		e.Dir, e.Owner)
}

// lockDir makes dir and takes it for this process. The lock ends with the
// process, however that ends.
func lockDir(dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	path := filepath.Join(dir, "dq.lock")
	lock := flock.New(path)
	ok, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if !ok {
		inUse := &DirInUseError{Dir: dir}
		if pid, err := os.ReadFile(path); err == nil && len(pid) > 0 {
			inUse.Owner = fmt.Sprintf(" (%s)", strings.TrimSpace(string(pid)))
		}
		return nil, inUse
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "pid %d\n", os.Getpid()), 0o600); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("write the lock of the data directory: %w", err)
	}
	return lock, nil
}
