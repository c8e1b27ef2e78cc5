package engine

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const canSyncFileSystem = true

// syncFileSystem returns when everything that was written to the file system of f is
// on disk.
func syncFileSystem(f *os.File) error { return unix.Syncfs(int(f.Fd())) }

// syncDir returns when the names in dir are on disk.
func syncDir(dir string) (err error) {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return f.Sync()
}

// diskSpace returns how many bytes may still be written to the file system of dir,
// and its size in bytes.
func diskSpace(dir string) (free, total uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, err
	}
	size := uint64(s.Bsize)
	return s.Bavail * size, s.Blocks * size, nil
}
