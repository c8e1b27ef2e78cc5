//go:build !linux

package engine

import (
	"errors"
	"math"
	"os"
)

// Without a way to sync a whole file system, the engine syncs each write, which is
// slower.
const canSyncFileSystem = false

func syncFileSystem(*os.File) error { return errors.ErrUnsupported }

// diskSpace reports unlimited space: a full disk shows itself by a failed write.
func diskSpace(string) (free, total uint64, err error) { return math.MaxUint64, math.MaxUint64, nil }
