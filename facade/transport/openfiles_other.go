//go:build !linux

package transport

// MaxOpenFiles returns how many files and connections this process may have open
// at once, or 0 if that is unknown.
func MaxOpenFiles() int { return 0 }
