package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// storeFailure starts the text that the engine logs about a failed write. The log is
// the only place where it says so: the publisher gets no answer.
const storeFailure = "JetStream failed to store a msg on stream"

// writeFailure is in the text that the engine logs when it will not write to a stream any more:
// after a failed purge or deletion of a message, too.
const writeFailure = "] Critical write error: "

// slowConsumer is in the notice that says why the engine cuts a connection off.
const slowConsumer = "Slow Consumer Detected"

// engineLogger passes the engine's log to slog. It implements the logger of
// nats-server. The engine's notices are of interest only when debugging.
type engineLogger struct {
	log         *slog.Logger
	storeFailed func() // called when a message could not be written

	mu   sync.Mutex
	last string // the latest error, for when the engine does not start
	dead bool   // the last start failed for good
}

// lastError returns the latest error, or one that says that the engine did not get
// ready in time.
func (l *engineLogger) lastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == "" {
		return errors.New("it did not get ready in time")
	}
	return errors.New(l.last)
}

// Noticef logs at level debug, but for the loss of a connection, which is an error.
func (l *engineLogger) Noticef(format string, v ...any) {
	if strings.Contains(format, slowConsumer) {
		l.log.Error("engine: cut off a connection: " + fmt.Sprintf(format, v...))
		return
	}
	l.debug(format, v...)
}

// Debugf logs at level debug.
func (l *engineLogger) Debugf(format string, v ...any) { l.debug(format, v...) }

// Tracef logs at level debug.
func (l *engineLogger) Tracef(format string, v ...any) { l.debug(format, v...) }

// Warnf logs at level warn.
func (l *engineLogger) Warnf(format string, v ...any) {
	l.log.Warn("engine: " + fmt.Sprintf(format, v...))
}

// Errorf logs at level error, and notices failed writes.
func (l *engineLogger) Errorf(format string, v ...any) { l.failed(format, v...) }

// Fatalf logs at level error. It does not end the process, but the start of the engine.
func (l *engineLogger) Fatalf(format string, v ...any) {
	l.failed(format, v...)
	l.setDead(true)
}

// setDead records whether the start of the engine failed for good.
func (l *engineLogger) setDead(dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = dead
}

// isDead reports whether the start of the engine failed for good.
func (l *engineLogger) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *engineLogger) debug(format string, v ...any) {
	l.log.Debug("engine: " + fmt.Sprintf(format, v...))
}

func (l *engineLogger) failed(format string, v ...any) {
	text := fmt.Sprintf(format, v...)

	l.mu.Lock()
	l.last = text
	l.mu.Unlock()

	l.log.Error("engine: " + text)
	if strings.HasPrefix(text, storeFailure) || strings.Contains(text, writeFailure) {
		l.storeFailed()
	}
}
