//go:build !linux

package jetstream

import (
	"errors"
	"os"
)

// Without a call for it the engine syncs each write by itself, which is slower.
const canSyncFileSystem = false

func syncFileSystem(*os.File) error { return errors.ErrUnsupported }
