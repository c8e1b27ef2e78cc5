package history

import "time"

const (
	// The pauses of a client whose call was not answered, and of one that found
	// nothing to do.
	RetryPause = 25 * time.Millisecond

	IdlePause = 3 * time.Millisecond
)
