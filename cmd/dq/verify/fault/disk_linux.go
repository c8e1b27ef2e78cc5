package fault

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mountSmall mounts a file system of that many bytes on dir.
func mountSmall(dir string, size int) error {
	return unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
}

func unmount(dir string) error { return unix.Unmount(dir, 0) }
