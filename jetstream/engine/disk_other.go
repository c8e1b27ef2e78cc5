//go:build !linux

package engine

import (
	"errors"
	"math"
	"os"
)

// Without a call for it the engine syncs each write by itself, which is slower.
const canSyncFileSystem = false

func syncFileSystem(*os.File) error { return errors.ErrUnsupported }

// diskSpace does not know, so a full disk is found out by writing.
func diskSpace(string) (free, total uint64, err error) { return math.MaxUint64, math.MaxUint64, nil }
