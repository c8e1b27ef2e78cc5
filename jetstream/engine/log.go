package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// engineLogger hands what the engine logs to slog. What the engine calls a
// notice is of interest only when debugging.
type engineLogger struct {
	log         *slog.Logger
	storeFailed func() // called when a message could not be written

	mu   sync.Mutex
	last string // the latest error, for when the engine does not start
}

func (l *engineLogger) lastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == "" {
		return errors.New("it did not get ready in time")
	}
	return errors.New(l.last)
}

func (l *engineLogger) failed(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.mu.Lock()
	l.last = text
	l.mu.Unlock()
	l.log.Error("engine: " + text)
	if strings.HasPrefix(text, storeFailure) {
		l.storeFailed()
	}
}

// storeFailure is how the engine's words for a failed write start. It is all
// that it says: the publisher gets no answer.
const storeFailure = "JetStream failed to store a msg on stream"

func (l *engineLogger) Noticef(format string, v ...any) {
	l.log.Debug("engine: " + fmt.Sprintf(format, v...))
}

func (l *engineLogger) Warnf(format string, v ...any) {
	l.log.Warn("engine: " + fmt.Sprintf(format, v...))
}

func (l *engineLogger) Debugf(format string, v ...any) {
	l.log.Debug("engine: " + fmt.Sprintf(format, v...))
}

func (l *engineLogger) Tracef(format string, v ...any) {
	l.log.Debug("engine: " + fmt.Sprintf(format, v...))
}

func (l *engineLogger) Fatalf(format string, v ...any) { l.failed(format, v...) }

func (l *engineLogger) Errorf(format string, v ...any) { l.failed(format, v...) }
