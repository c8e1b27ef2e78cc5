package transport

import "golang.org/x/sys/unix"

// MaxOpenFiles returns how many files and connections this process may have open
// at once, or 0 if that is unknown.
func MaxOpenFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}
