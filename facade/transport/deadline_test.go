package transport

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestDeadline_EndsAtItsTime(t *testing.T) {
	t.Parallel()
	before := time.Now()
	long, short, passed := WithTimeout(time.Hour), WithTimeout(time.Millisecond), WithTimeout(-time.Second)
	defer long.Free()
	defer short.Free()
	defer passed.Free()

	at, ok := long.Deadline()
	assert.True(t, ok)
	assert.WithinRange(t, at, before.Add(time.Hour), time.Now().Add(time.Hour))
	assert.NoError(t, long.Err())
	assert.Equal(t, context.DeadlineExceeded, passed.Err(), "without a timer")

	<-short.Done()
	assert.Equal(t, context.DeadlineExceeded, short.Err())
	<-passed.Done()
	assert.Equal(t, context.DeadlineExceeded, passed.Err())
	select {
	case <-long.Done():
		t.Error("it ended too early")
	default:
	}
}

func TestDeadline_EndsContextsThatAreDerivedFromIt(t *testing.T) {
	t.Parallel()
	d := WithTimeout(time.Millisecond)
	defer d.Free()

	ctx, cancel := context.WithTimeout(d, time.Hour)
	defer cancel()

	<-ctx.Done()
	assert.Equal(t, context.DeadlineExceeded, ctx.Err())
}

func TestDeadline_StartsATimerOnlyIfDoneIsCalled(t *testing.T) {
	t.Parallel()
	quick, waited := WithTimeout(time.Hour), WithTimeout(time.Hour)
	done := waited.Done()

	quick.Free()
	waited.Free()

	assert.NoError(t, quick.Err(), "there was no timer to stop")
	<-done
	assert.Equal(t, context.Canceled, waited.Err())
}
