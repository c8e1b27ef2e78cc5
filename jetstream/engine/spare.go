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

	// purgeFile is like it, but is removed only for a purge, so that a purge is possible on a full disk.
	purgeFile = "spare.purge"

	// purgeNeeds is what a purge of a whole stream writes, at most: a block, a directory and an index, all small.
	purgeNeeds = 128 << 10

	// maxPurgeNeeds bounds what a purge up to a sequence writes in addition: a part of one block.
	maxPurgeNeeds = 8 << 20

	// maxSpare is the largest size of the file. On small disks it is one part in spareParts of the reserve.
	maxSpare   = 4 << 20
	spareParts = 4
)

// keepSpare removes the spare file when no more than its size is free, and writes it again when there is space for
// it beyond the reserve, and likewise that for a purge.
func (w *diskWatch) keepSpare(free, reserve uint64) {
	path, size := filepath.Join(w.dir, spareFile), min(maxSpare, reserve/spareParts)
	info, err := os.Stat(path)
	switch {
	case err == nil && free < size && info.Size() > 0:
		if w.freeSpare(path) {
			w.log.Warn("the disk is full to the last byte: freed the spare space, so that clients can purge and delete",
				"file", path, "bytes", info.Size())
		}
	case errors.Is(err, fs.ErrNotExist) && free > reserve+2*size:
		w.writeSpare(path, int(size))
	}

	purge := filepath.Join(w.dir, purgeFile)
	if _, err := os.Stat(purge); errors.Is(err, fs.ErrNotExist) && free > reserve+2*size {
		w.writeSpare(purge, purgeNeeds)
	}
}

// freeSpare removes a spare file, and reports whether it did.
func (w *diskWatch) freeSpare(path string) bool {
	err := os.Remove(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.log.Error("cannot free the spare space of the data directory", "file", path, "error", err)
	}
	return err == nil
}

// roomToPurge makes room for a purge that writes that many bytes at most. It returns a [*StorageFullError] if the disk
// has too little: the engine would do half of the purge, and would then refuse writes to that stream until a restart.
func (w *diskWatch) roomToPurge(bytes uint64) error {
	w.looking.Lock()
	defer w.looking.Unlock()

	var free uint64
	for _, spare := range []string{"", purgeFile, spareFile} {
		if spare != "" && !w.freeSpare(filepath.Join(w.dir, spare)) {
			continue
		}
		now, _, err := w.space(w.dir)
		if err != nil || now >= bytes {
			return nil // without an answer, the engine finds out
		}
		free = now
	}
	return &StorageFullError{Free: free, Reserve: bytes}
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
