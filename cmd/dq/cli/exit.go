package cli

import (
	"errors"

	"dq/sdk"
)

// The exit statuses of every command.
const (
	exitOK          = 0
	exitFailed      = 1 // it failed while it ran
	exitUsage       = 2 // the command line or a setting is wrong
	exitRefused     = 3 // the broker refused: unknown topic, unknown id, ...
	exitEmpty       = 4 // there was no message to consume
	exitUnreachable = 5 // no broker answers, or it cannot do its work
)

// exitHelp explains the exit statuses.
const exitHelp = `
Exit status: 0 done, 1 failed, 2 wrong usage or setting, 3 refused by the broker,
4 no message to consume, 5 broker not reachable.`

func exitStatus(err error) int {
	var refused *sdk.Error
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, sdk.ErrEmpty):
		return exitEmpty
	case errors.As(err, &refused) && refused.Status < 500:
		return exitRefused
	case errors.As(err, &refused), errors.Is(err, sdk.ErrUnreachable):
		return exitUnreachable
	}
	return exitFailed
}

// usageError reports a wrong command line or setting.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }
