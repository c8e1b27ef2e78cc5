package access

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Encode writes a file of tokens for people to read.
func Encode(file any) ([]byte, error) {
	data, err := json.Marshal(file, jsontext.WithIndent("  "))
	return append(data, '\n'), err
}

// Append adds an entry to the file of tokens at path, which it makes with mode
// 0600 if it is not there. A reader sees all of the change or nothing of it.
func Append(path string, entry Entry) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // replace the file, not the link to it
	}
	// The new file is the lock as well: two who append at the same time would
	// lose the entry of one.
	next := path + ".new"
	f, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there: somebody else is changing %s; if nobody is, remove it", next, path)
	}
	if err != nil {
		return err
	}
	err = errors.Join(appendTo(f, path, entry), f.Close())
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		_ = os.Remove(next)
	}
	return err
}

// appendTo writes to f what is at path, and entry.
func appendTo(f *os.File, path string, entry Entry) error {
	var file File
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		if file, err = Parse(path, data); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			return err
		}
	}
	file.Tokens = append(file.Tokens, entry)
	if data, err = Encode(file); err != nil {
		return err
	}
	if field, problem := file.check(); problem != "" {
		return fmt.Errorf("%s: token %q: %s: %s", path, entry.Name, field, problem)
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}
