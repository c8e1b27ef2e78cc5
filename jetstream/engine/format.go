package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// DataFormat is the version of the format of a data directory. Raise it when an older dq must not open what this
	// one writes. A directory of an earlier version is opened, and gets this version before anything is written.
	DataFormat = 1

	// oldestFormat is the version of a directory that has no format file.
	oldestFormat = 1

	// formatFile, in the data directory, holds the version as a decimal number.
	formatFile = "format"
)

// claimDir makes sure that this dq can serve a data directory, before it changes anything in
// it, and writes its format version. It returns how the last run ended. Errors: those of
// checkFormat, and [*NewerEngineError].
func (s *Server) claimDir(opts Options) (run lastRun, err error) {
	found, err := checkFormat(opts.Dir)
	if err != nil {
		return run, err
	}
	if err := s.checkEngineLevels(); err != nil {
		return run, err
	}
	_, known := os.Stat(filepath.Join(opts.Dir, formatFile))
	run = readLastRun(opts.Dir, known == nil)

	s.openDisk(opts.Dir) // a full disk gets some room: writing needs it, and so does the start
	return run, s.writeFormat(opts.Dir, found)
}

// checkFormat returns the format version of a data directory. Errors: [*NewerFormatError],
// [*UnreadableFormatError].
func checkFormat(dir string) (version int, err error) {
	path := filepath.Join(dir, formatFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return oldestFormat, nil
	case err != nil:
		return 0, fmt.Errorf("read the format version of the data directory: %w", err)
	}

	version, err = strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil || version < oldestFormat {
		return 0, &UnreadableFormatError{File: path, Text: string(text)}
	}
	if version > DataFormat {
		return 0, &NewerFormatError{Dir: dir, Found: version, Supported: DataFormat}
	}
	return version, nil
}

// writeFormat writes the version of this dq into a data directory that does not have it. On a full disk, a directory of
// the same version stays without the file, because a start must not need room.
func (s *Server) writeFormat(dir string, found int) error {
	path := filepath.Join(dir, formatFile)
	if _, err := os.Stat(path); err == nil && found == DataFormat {
		return nil
	}

	err := replaceFile(path, fmt.Appendf(nil, "%d\n", DataFormat))
	if err != nil && found == DataFormat {
		s.logger.log.Warn("cannot write the format version of the data directory: trying again at the next start",
			"file", path, "error", err)
		return nil
	}
	return err
}

// replaceFile writes data to path so that the file has either its earlier content or all of
// data, also after a power cut.
func replaceFile(path string, data []byte) error {
	temporary := path + ".new"
	if err := errors.Join(writeSynced(temporary, data), os.Rename(temporary, path)); err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

// writeSynced writes a new file, and returns when it is on disk.
func writeSynced(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()

	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// checkEngineLevels returns a [*NewerEngineError] if a stream in the store, or a consumer of one, needs a newer
// nats-server than this: such a stream would be listed but not served. It looks only at settings whose checksum is
// right; others are found by the check for damage.
func (s *Server) checkEngineLevels() error {
	dirs, err := s.streamDirs()
	if err != nil {
		return err
	}

	for _, dir := range dirs {
		if err := checkEngineLevel[server.FileStreamInfo](dir, filepath.Base(dir)); err != nil {
			return err
		}
		consumers, err := os.ReadDir(filepath.Join(dir, consumersDir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("list the consumers of a stream: %w", err)
		}
		for _, c := range consumers {
			path, key := filepath.Join(dir, consumersDir, c.Name()), filepath.Base(dir)+"/"+c.Name()
			if err := checkEngineLevel[server.FileConsumerInfo](path, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkEngineLevel checks the settings in dir, of type T, whose checksum has that key. The
// engine serves nothing that needs a higher level or has a setting that it does not know.
func checkEngineLevel[T any](dir, key string) error {
	file := filepath.Join(dir, settingsFile)
	settings, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	sum, err := os.ReadFile(filepath.Join(dir, checksumFile))
	if err != nil || string(sum) != checksum(key, settings) {
		return nil
	}

	newer := &NewerEngineError{File: file, Supported: server.JSApiLevel}
	var asset struct{ Metadata map[string]string }
	if json.Unmarshal(settings, &asset) == nil {
		required := asset.Metadata[server.JSRequiredLevelMetadataKey]
		if level, err := strconv.Atoi(required); required != "" && (err != nil || level > server.JSApiLevel) {
			newer.Level = required
			return newer
		}
	}

	if _, err := decodeStrictly[T](settings); err != nil {
		newer.Err = err
		return newer
	}
	return nil
}
