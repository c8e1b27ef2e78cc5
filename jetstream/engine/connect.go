package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// pingInterval and maxPings bound how long a server that has vanished or hangs goes unnoticed: after so many
	// unanswered pings, dq connects to another server.
	pingInterval = 2 * time.Second
	maxPings     = 2

	// connectTimeout bounds how long a server may take to accept a connection.
	connectTimeout = 2 * time.Second

	// reconnectWait is the pause between two attempts to connect to an engine that was lost.
	reconnectWait = 50 * time.Millisecond
)

// Connect opens a connection to an engine that runs elsewhere: to one of the servers in urls, which commas separate. It
// reconnects until it is closed, and logs when it was cut off and when it came back.
//
// What is sent while it is disconnected fails at once, as it has no buffer: with one, a message that was answered as
// failed could be stored later.
func Connect(urls string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	if err := checkURLs(urls); err != nil {
		return nil, err
	}
	return openConn(urls, log, append(opts,
		nats.Timeout(connectTimeout),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.ReconnectBufSize(-1),
	)...)
}

// checkURLs returns a [*URLError] if one of the URLs is not valid.
func checkURLs(urls string) error {
	for i, text := range strings.Split(urls, ",") {
		if text = strings.TrimSpace(text); !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		if _, err := url.Parse(text); err != nil {
			return &URLError{Number: i + 1}
		}
	}
	return nil
}

// URLError says that a URL of a NATS server is not valid. It does not have the URL, which may hold a password.
type URLError struct{ Number int } // from 1

func (e *URLError) Error() string {
	return fmt.Sprintf("URL %d is not valid: want nats://HOST:PORT, or nats://USER:PASSWORD@HOST:PORT with "+
		"the special characters of the password encoded, such as %%40 for @", e.Number)
}

// openConn opens a connection that reconnects until it is closed.
func openConn(urls string, log *slog.Logger, opts ...nats.Option) (*nats.Conn, error) {
	cutOff := func(nc *nats.Conn, err error) {
		if err != nil { // it is nil if we closed the connection
			log.Error("a connection to the engine was cut off: reconnecting", "error", err)
		}
	}
	back := func(nc *nats.Conn) {
		log.Warn("a connection to the engine is back", "server", nc.ConnectedUrlRedacted())
	}
	asyncError := func(_ *nats.Conn, _ *nats.Subscription, err error) { logAsyncError(log, err) }

	nc, err := nats.Connect(urls, append(opts,
		nats.Name("dq facade"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ErrorHandler(asyncError),
		nats.DisconnectErrHandler(cutOff),
		nats.ReconnectHandler(back),
	)...)
	if err != nil {
		return nil, fmt.Errorf("connect to the engine: %w", err)
	}
	return nc, nil
}

// logAsyncError logs what goes wrong on a connection outside any call.
func logAsyncError(log *slog.Logger, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) { // the call only gets no answer
		log.Error("the NATS user lacks a permission that dq needs: grant it", "error", err)
		return
	}
	// A message whose headers cannot be parsed. The reader of such a message deals with it.
	log.Debug("engine: on the connection", "error", err)
}
