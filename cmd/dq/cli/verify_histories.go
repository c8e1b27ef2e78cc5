package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// histories are the files that dq verify writes operations to.
type histories struct {
	all    *lateFile // every operation; nil without --history
	failed *lateFile // those of topics with violations; never used with --history
}

// openHistories sets the files for the history in the options of the run.
func (v *verification) openHistories() (histories, error) {
	h := histories{failed: &lateFile{name: fmt.Sprintf("dq-verify-%d.jsonl", os.Getpid())}}
	if v.history == "" {
		v.opts.Failed = h.failed
		return h, nil
	}

	h.all = &lateFile{name: v.history}
	v.opts.History = h.all
	_, err := h.all.Write(nil) // a file that cannot be created fails now, not at the end
	return h, err
}

func (h histories) close() error { return errors.Join(h.all.close(), h.failed.close()) }

// lateFile is a file that the first write creates.
type lateFile struct {
	name string
	file *os.File
}

var _ io.Writer = (*lateFile)(nil)

// Write writes p to the file.
func (f *lateFile) Write(p []byte) (int, error) {
	if f.file == nil {
		file, err := os.Create(f.name)
		if err != nil {
			return 0, err
		}
		f.file = file
	}
	return f.file.Write(p)
}

// used reports whether the file was created; a nil file was not.
func (f *lateFile) used() bool { return f != nil && f.file != nil }

func (f *lateFile) close() error {
	if !f.used() {
		return nil
	}
	return f.file.Close()
}
