package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"dq/cmd/dq/verify/history"
)

const (
	// diskSize is the size in bytes of the file system that is filled.
	diskSize = 64 << 20

	// fillTime is how long the disk is filled while no call fails.
	fillTime = 10 * time.Second

	// recoveryTime is how long a broker may take to store messages again when the
	// disk has space again.
	recoveryTime = 20 * time.Second
)

// fillDisk fills the disk until calls fail, waits a while and frees the space. It
// kills and starts the broker with the engine if that does not recover by itself.
func (b *Breaker) fillDisk(ctx context.Context, rec *history.Recorder) error {
	file, err := os.Create(filepath.Join(b.deployment.Dir, "ballast"))
	if err != nil {
		return err
	}
	if err := fillUntilFailure(ctx, file, rec); err != nil {
		return err
	}
	sleep(ctx, fullTime)
	if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
		return err
	}

	if recovers(ctx, rec) {
		return nil
	}
	recordStuck(rec, fmt.Sprintf("calls succeed again within %s of space on the disk", recoveryTime))
	b.brokers[0].end(os.Kill)
	return b.brokers[0].start()
}

// fillUntilFailure writes to file whatever space is left, again and again, until a
// call has failed. It gives up after [fillTime].
func fillUntilFailure(ctx context.Context, file *os.File, rec *history.Recorder) error {
	before, _ := rec.Answers()
	for begin := time.Now(); ctx.Err() == nil && time.Since(begin) < fillTime; {
		if failed, _ := rec.Answers(); failed != before {
			return nil
		}
		if _, err := io.CopyN(file, zeros{}, diskSize); err != nil && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		sleep(ctx, pollPause)
	}
	return nil
}

// recovers reports whether a time comes, within [recoveryTime], in which calls
// succeed and none fails. It needs no calls once ctx has ended.
func recovers(ctx context.Context, rec *history.Recorder) bool {
	for deadline := time.Now().Add(recoveryTime); time.Now().Before(deadline); {
		failedBefore, succeededBefore := rec.Answers()
		time.Sleep(requestTimeout + time.Second)
		failed, succeeded := rec.Answers()
		if failed == failedBefore && (succeeded > succeededBefore || ctx.Err() != nil) {
			return true
		}
	}
	return false
}

// zeros is an endless reader of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
