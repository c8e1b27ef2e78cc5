package transport

import "golang.org/x/sys/unix"

// FileLimit is how many files and connections this process may have open at
// once; 0 is unknown.
func FileLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30)) //nolint:gosec // bounded
}
