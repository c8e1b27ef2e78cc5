package access

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Audit is the log of administrative calls: a file with a JSON object a line,
// that only its owner may read. It may be renamed at any time to rotate it; the
// next call makes a new one. All methods are safe for concurrent use.
type Audit struct {
	path   string
	logger *slog.Logger

	mu   sync.Mutex
	file *os.File
}

// Call is an administrative call.
type Call struct {
	Principal string // the name of who called
	Remote    string // the address of who called
	Operation string // such as "delete_topic"
	Topic     string // "" if it was on none
	Code      string // what came of it: "ok", or the code of the error
}

// OpenAudit opens the file at path, to append to it. Logger gets what could not
// be written there.
func OpenAudit(path string, logger *slog.Logger) (*Audit, error) {
	a := &Audit{path: path, logger: logger}
	if err := a.open(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Audit) open() (err error) {
	a.file, err = os.OpenFile(a.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

// Record writes a call. One that cannot be written goes to the logger instead.
func (a *Audit) Record(c Call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	record := slog.NewRecord(time.Now().UTC(), slog.LevelInfo, c.Operation, 0)
	record.AddAttrs(slog.String("principal", c.Principal), slog.String("remote", c.Remote), slog.String("topic", c.Topic), slog.String("code", c.Code))
	err := a.follow()
	if err == nil {
		err = slog.NewJSONHandler(a.file, auditFormat).Handle(context.Background(), record)
	}
	if err != nil {
		a.logger.Error("a call could not be written to the audit log", "call", c, "error", err)
	}
}

var auditFormat = &slog.HandlerOptions{ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
	switch attr.Key {
	case slog.LevelKey:
		return slog.Attr{} // all are the same
	case slog.MessageKey:
		attr.Key = "operation"
	}
	return attr
}}

// follow makes a new file if the one that is open was renamed or removed. It
// looks each time: administrative calls are rare.
func (a *Audit) follow() error {
	open, err := a.file.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Stat(a.path); err == nil && os.SameFile(open, there) {
			return nil
		}
	}
	_ = a.file.Close()
	return a.open()
}

// Close closes the file.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Close()
}
