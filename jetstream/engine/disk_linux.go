package engine

import (
	"os"

	"golang.org/x/sys/unix"
)

const canSyncFileSystem = true

// syncFileSystem returns when all that was written to the file system of f is on
// the disk.
func syncFileSystem(f *os.File) error { return unix.Syncfs(int(f.Fd())) }

// diskSpace returns how many bytes of the file system of dir may still be
// written, and how many there are.
func diskSpace(dir string) (free, total uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	size := uint64(s.Bsize)
	return s.Bavail * size, s.Blocks * size, nil
}
