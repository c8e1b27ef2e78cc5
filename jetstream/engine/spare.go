package engine

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// spareFile, in the data directory, takes space that nobody else can take meanwhile. It is removed when other
	// programs have filled the disk to the last byte: without any space the engine can neither start nor purge.
	spareFile = "spare"

	// maxSpare is the largest size of the file. On small disks it is one part in spareParts of the reserve.
	maxSpare   = 4 << 20
	spareParts = 4
)

// keepSpare removes the spare file when no more than its size is free, and writes it again when there is space for
// it beyond the reserve.
func (w *diskWatch) keepSpare(free, reserve uint64) {
	path, size := filepath.Join(w.dir, spareFile), min(maxSpare, reserve/spareParts)
	info, err := os.Stat(path)
	switch {
	case err == nil && free < size && info.Size() > 0:
		if err := os.Remove(path); err != nil {
			w.log.Error("cannot free the spare space of the data directory", "file", path, "error", err)
			return
		}
		w.log.Warn("the disk is filled to the last: freed the spare space, so that one can purge and delete",
			"file", path, "bytes", info.Size())
	case errors.Is(err, fs.ErrNotExist) && free > reserve+2*size:
		w.writeSpare(path, int(size))
	}
}

// writeSpare writes the spare file. Its bytes are random, as some file systems store others in less space.
func (w *diskWatch) writeSpare(path string, size int) {
	random := make([]byte, size)
	_, _ = rand.Read(random) // never fails
	if err := os.WriteFile(path, random, 0o600); err != nil {
		_ = os.Remove(path)
		w.log.Error("cannot keep spare space in the data directory", "file", path, "error", err)
	}
}
