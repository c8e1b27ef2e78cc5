package cli

import (
	"errors"
	"os"
)

// inTempDir calls do with a new directory and removes the directory afterwards.
func inTempDir(do func(dir string) error) error {
	dir, err := os.MkdirTemp("", "dq-")
	if err != nil {
		return err
	}
	return errors.Join(do(dir), os.RemoveAll(dir))
}
