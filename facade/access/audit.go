package access

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Audit writes the log of administrative calls: a file with one JSON object a line,
// which only its owner may read. To rotate it, rename it at any time; the next call
// creates a new one. All methods are safe for concurrent use.
type Audit struct {
	path   string
	logger *slog.Logger

	mu      sync.Mutex
	file    *os.File
	refused map[string]*refusals // by client; those of the last refusalPause
}

// Call describes an administrative call and its result.
type Call struct {
	Principal string // the name of the caller
	Remote    string // the address of the caller, HOST:PORT
	Operation string // the method and the route, such as "DELETE /v1/topics/:topic"
	Topic     string // "" if the call was about no topic
	Code      string // "ok", or the code of the error that was the answer
}

// OpenAudit opens the file at path, to append to it, and creates it if it does not
// exist. Calls that cannot be written there go to logger.
func OpenAudit(path string, logger *slog.Logger) (*Audit, error) {
	a := &Audit{path: path, logger: logger, refused: make(map[string]*refusals)}
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

// Record writes a call. If that fails, the call goes to the logger instead.
func (a *Audit) Record(c Call) {
	a.mu.Lock()
	defer a.mu.Unlock()

	a.write(c.Operation,
		slog.String("principal", c.Principal), slog.String("remote", c.Remote),
		slog.String("topic", c.Topic), slog.String("code", c.Code))
}

// write writes one line. The caller holds the lock.
func (a *Audit) write(operation string, attrs ...slog.Attr) {
	record := slog.NewRecord(time.Now().UTC(), slog.LevelInfo, operation, 0)
	record.AddAttrs(attrs...)

	err := a.reopenIfMoved()
	if err == nil {
		err = slog.NewJSONHandler(a.file, auditFormat).Handle(context.Background(), record)
	}
	if err != nil {
		a.logger.Error("writing to the audit log failed", "operation", operation, "record", attrs, "error", err)
	}
}

// auditFormat leaves out the level and calls the message the operation.
var auditFormat = &slog.HandlerOptions{ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
	switch attr.Key {
	case slog.LevelKey:
		return slog.Attr{} // the same in every record
	case slog.MessageKey:
		attr.Key = "operation"
	}
	return attr
}}

// reopenIfMoved creates a new file if the open one was renamed or removed. It runs
// before every record: administrative calls are rare.
func (a *Audit) reopenIfMoved() error {
	open, err := a.file.Stat()
	if err == nil {
		var atPath os.FileInfo
		if atPath, err = os.Stat(a.path); err == nil && os.SameFile(open, atPath) {
			return nil
		}
	}

	_ = a.file.Close()
	return a.open()
}

// Close writes what is still to be written, and closes the file.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()

	for client, r := range a.refused {
		a.writeRefusals(client, r)
	}
	clear(a.refused)
	return a.file.Close()
}
