//go:build !linux

package fault

import "errors"

func mountSmall(string, int) error { return errors.New("this is done on Linux only") }
func unmount(string) error         { return nil }
