package sdk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The pauses between the attempts of a call.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 3 * time.Second

	// maxRetryAfter is the longest pause that the client makes because a broker
	// asks for it. A longer one is left to the caller, as [Error.RetryAfter].
	maxRetryAfter = time.Minute
)

// pauses grow from attempt to attempt, and are at least what the broker asked
// for.
type pauses struct {
	grow    *backoff.ExponentialBackOff
	atLeast time.Duration // of the next pause
}

func newPauses(first, longest time.Duration) *pauses {
	grow := backoff.NewExponentialBackOff()
	grow.InitialInterval, grow.MaxInterval = first, longest
	return &pauses{grow: grow}
}

// reset makes the next pause the shortest again, after a success.
func (p *pauses) reset() { p.grow.Reset() }

// failed makes the next pause as long as the broker asks for in err.
func (p *pauses) failed(err error) {
	if refused, ok := errors.AsType[*Error](err); ok {
		p.atLeast = refused.RetryAfter
	}
}

// wait waits for the next pause. It returns false if ctx ends first.
func (p *pauses) wait(ctx context.Context) bool {
	timer := time.NewTimer(max(p.grow.NextBackOff(), p.atLeast))
	defer timer.Stop()
	p.atLeast = 0

	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// do makes a call, and repeats it until it succeeds, may not be repeated, or the
// client's number of retries is used up.
func (c *Client) do(ctx context.Context, call call) error {
	if err := call.check(); err != nil {
		return err
	}
	body, err := call.encode()
	if err != nil {
		return err
	}

	pauses := newPauses(firstPause, maxPause)
	mayBeDone := false // an attempt that failed may have done the work
	for retries := uint(0); ; retries++ {
		err := c.attempt(ctx, call, body)
		if err == nil {
			return nil
		}
		if mayBeDone && call.gone != nil && errors.Is(err, call.gone) {
			return nil // an earlier attempt deleted it
		}
		if !mayRepeat(call, err) || retries >= c.retries {
			return err
		}

		mayBeDone = mayBeDone || !errors.Is(err, ErrUnreachable)
		pauses.failed(err)
		if !pauses.wait(ctx) {
			return ended(ctx, err)
		}
	}
}

// ended returns the error of a call whose context ended after its last attempt
// failed.
func ended(ctx context.Context, last error) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, last) {
		return cause
	}
	return fmt.Errorf("%w; the last attempt: %w", cause, last)
}

// mayRepeat reports whether a call that failed with err may be made again.
func mayRepeat(call call, err error) bool {
	if errors.Is(err, ErrUnreachable) {
		return true // it had no effect
	}
	if errors.Is(err, ErrTopicDamaged) {
		return false // only somebody at the broker can help
	}

	refused, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return call.repeatable
	case refused.RetryAfter > maxRetryAfter:
		return false
	case turnedAway(refused):
		return true
	}
	transient := refused.Status >= http.StatusInternalServerError || refused.Status == http.StatusTooManyRequests
	return call.repeatable && transient
}

// turnedAway reports whether the broker refused a call before it did any of its
// work: because it has too many, because the engine takes nothing now, or because the
// topic is damaged.
func turnedAway(err *Error) bool {
	switch err.Code {
	case ErrRateLimited.Code, ErrOverloaded.Code, ErrNotStored.Code, ErrTopicDamaged.Code:
		return true
	}
	return false
}
