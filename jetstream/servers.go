package jetstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// neededLevel is the API level of JetStream that dq needs. Servers of level 2 know atomic
// batches and scheduled messages. Older ones ignore what they do not know: they would store
// delayed messages and never deliver them.
const neededLevel = 2

// OldServersError says that NATS servers are too old.
type OldServersError struct {
	Level   int    // their API level; 0 before nats-server 2.11
	Version string // of the server that dq is connected to
}

func (e *OldServersError) Error() string {
	return fmt.Sprintf("the NATS servers have JetStream API level %d, and dq needs %d: "+
		"use nats-server 2.12 or later (connected to %s)", e.Level, neededLevel, e.Version)
}

// CheckServers checks that the servers of a connection can do what dq needs.
// Errors: [*OldServersError], those of the engine.
func CheckServers(ctx context.Context, nc *nats.Conn) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	account, err := Repeat(ctx, func(ctx context.Context) (*jetstream.AccountInfo, error) {
		account, err := js.AccountInfo(ctx)
		return account, permissionError(nc, err, "$JS.API.INFO")
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the servers have no leader that answers: too few of them run or reach each other: %w", err)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return fmt.Errorf("the servers run without JetStream, or are starting: %w", err)
	case err != nil:
		return fmt.Errorf("ask for the JetStream account: %w", err)
	}

	// The leader of the cluster has answered; the server of the connection may be another version.
	level := account.API.Level
	if _, connected := nc.ConnectedServerJetStream(); connected > 0 {
		level = min(level, connected)
	}
	if level < neededLevel {
		return &OldServersError{Level: level, Version: nc.ConnectedServerVersion()}
	}
	return nil
}

// MayPass reports whether the cause of err may disappear by itself, such as servers that do not run yet. For other
// errors somebody must change settings.
func MayPass(err error) bool {
	for _, permanent := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrPermissionViolation,
		nats.ErrAccountAuthExpired, nats.ErrNkeysNotSupported, nats.ErrSecureConnRequired,
	} {
		if errors.Is(err, permanent) {
			return false
		}
	}
	var old *OldServersError
	var badURL *URLError
	if errors.As(err, &old) || errors.As(err, &badURL) {
		return false
	}

	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return true
	}
	switch api.ErrorCode {
	case codeNoPeers:
		return true // not all servers have joined the cluster
	case codeReplicas, codeNotEnabledHere:
		return false
	}
	return api.Code >= 500
}

// CheckLeader returns an error if the servers do not answer, or too few of them run.
func (t *Topics) CheckLeader(ctx context.Context) error {
	_, err := t.lookUp(ctx, bucketStream(cursorBucket))
	return err
}
