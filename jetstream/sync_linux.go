package jetstream

import (
	"os"

	"golang.org/x/sys/unix"
)

const canSyncFileSystem = true

// syncFileSystem returns when all that was written to the file system of f is on
// the disk.
func syncFileSystem(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
