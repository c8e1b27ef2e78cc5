package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"dq/cmd/dq/verify/history"
)

// The times of faults.
const (
	calmAtLeast = 500 * time.Millisecond // between two faults
	calmAtMost  = 3 * time.Second
	downAtMost  = 500 * time.Millisecond
	fullTime    = 2 * time.Second
	// fillTime is how long a disk is filled for a call to fail.
	fillTime = 10 * time.Second
	// recoveryTime is how long a broker may take to store messages again when the
	// disk has space again.
	recoveryTime = 20 * time.Second

	diskSize = 64 << 20

	// fileLimit is how many file descriptors a broker may have that is to run out
	// of them, and floodSize how many connections see to that.
	fileLimit = 512
	floodSize = 600
)

// breaker breaks brokers.
type Breaker struct {
	Self    Deployment
	Brokers []*process
	Rec     *history.Recorder
	faults  []string
	disk    bool // Dir is a disk of its own
}

// prepare checks that the faults can be made.
func (b *Breaker) Prepare(faults []string) error {
	for _, fault := range faults {
		if !slices.Contains(history.AllFaults, fault) {
			return fmt.Errorf("there is no fault %q", fault)
		}
		if b.Self.Memory && (fault == history.FaultKill || fault == history.FaultRestart || fault == history.FaultDisk) {
			return fmt.Errorf("fault %q: in memory nothing is promised to survive it", fault)
		}
		if fault != history.FaultClients {
			b.faults = append(b.faults, fault)
		}
	}
	if slices.Contains(faults, history.FaultFiles) {
		b.Self.Command = withFileLimit(b.Self.Command, fileLimit)
	}
	if !slices.Contains(faults, history.FaultDisk) {
		return nil
	}
	if err := mountSmall(b.Self.Dir, diskSize); err != nil {
		return fmt.Errorf("fault %q needs a small file system of its own: %w", history.FaultDisk, err)
	}
	b.disk = true
	return nil
}

// release ends the brokers and frees what prepare took.
func (b *Breaker) Release() (err error) {
	for _, p := range slices.Backward(b.Brokers) {
		if p.cmd != nil {
			p.end(syscall.SIGTERM)
		}
	}
	if b.disk {
		err = unmount(b.Self.Dir)
	}
	return err
}

// work breaks brokers until ctx ends. Then all of them are up.
func (b *Breaker) Work(ctx context.Context) error {
	for len(b.faults) > 0 {
		for _, p := range b.Brokers {
			if err := b.revive(p); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if !sleep(ctx, calmAtLeast+rand.N(calmAtMost-calmAtLeast)) {
			continue // one may have ended since
		}
		if err := b.fault(ctx, b.faults[rand.IntN(len(b.faults))], b.Brokers[rand.IntN(len(b.Brokers))]); err != nil {
			return err
		}
	}
	return nil
}

// revive starts a broker again that has ended by itself, and tells of it.
func (b *Breaker) revive(p *process) error {
	select {
	case <-p.ended:
		b.stuck("the broker stays up (its log says why it ended)")
		return p.Start()
	default:
		return nil
	}
}

// sleep reports whether ctx went on for so long.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// fault breaks one broker in one way and mends it.
func (b *Breaker) fault(ctx context.Context, fault string, p *process) (err error) {
	op := &history.Op{Kind: history.OpFault, Worker: "breaker", Name: fault, Outcome: history.OK, Call: b.Rec.Now(), Facade: slices.Index(b.Brokers, p)}
	switch fault {
	case history.FaultKill:
		p.end(os.Kill)
		time.Sleep(rand.N(downAtMost))
		err = p.Start()
	case history.FaultRestart:
		if p.end(syscall.SIGTERM) {
			b.stuck(fmt.Sprintf("the broker ends within %s of SIGTERM", readyTime))
		}
		err = p.Start()
	case history.FaultPause:
		pause(p)
		sleep(ctx, requestTimeout+time.Second+rand.N(2*time.Second))
		resume(p)
	case history.FaultFiles:
		flood(p, func() { sleep(ctx, fullTime) })
	case history.FaultDisk:
		err = b.fillDisk(ctx)
	}
	op.Return = b.Rec.Now()
	b.Rec.Add(op)
	return err
}

// stuck tells of what did not come about.
func (b *Breaker) stuck(what string) {
	b.Rec.Add(&history.Op{Kind: history.OpStuck, Worker: "breaker", Topic: FaultTopic, Name: what, Outcome: history.OK, Call: b.Rec.Now(), Return: b.Rec.Now()})
}

// faultTopic is where it is told what brokers did not do when they should have
// recovered.
const FaultTopic = "(faults)"

// fillDisk fills the disk until calls fail, and for a while, and restarts the
// broker if it does not recover by itself when there is space.
func (b *Breaker) fillDisk(ctx context.Context) error {
	ballast := filepath.Join(b.Self.Dir, "ballast")
	file, err := os.Create(ballast)
	if err != nil {
		return err
	}
	before, _ := b.Rec.Failures()
	begin := time.Now()
	for failed := before; failed == before && ctx.Err() == nil && time.Since(begin) < fillTime; failed, _ = b.Rec.Failures() {
		_, err := io.CopyN(file, zeros{}, diskSize) // all that is left, again and again
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		sleep(ctx, history.RetryPause)
	}
	sleep(ctx, fullTime)
	if err := errors.Join(file.Close(), os.Remove(ballast)); err != nil {
		return err
	}
	if b.recovers(ctx) {
		return nil
	}
	b.stuck(fmt.Sprintf("no call fails any more %s after there is space on the disk again", recoveryTime))
	b.Brokers[0].end(os.Kill)
	return b.Brokers[0].Start()
}

// recovers reports whether, in time, calls do not fail any more.
func (b *Breaker) recovers(ctx context.Context) bool {
	for deadline := time.Now().Add(recoveryTime); time.Now().Before(deadline); {
		failed, answered := b.Rec.Failures()
		time.Sleep(requestTimeout + time.Second)
		failedLater, answeredLater := b.Rec.Failures()
		if failed == failedLater && (answered < answeredLater || ctx.Err() != nil) {
			return true
		}
	}
	return false
}

// flood has many connections open while do runs.
func flood(p *process, do func()) {
	for range floodSize {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(p.Url, "http://"), time.Second)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	do()
}

// zeros are as many zeros as one likes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Possible are the faults that can be made: against a deployment of others, or
// of our own, in its storage mode and on this machine.
func Possible(self Deployment, own bool) (faults []string) {
	if !own {
		return []string{history.FaultClients}
	}
	for _, fault := range history.AllFaults {
		possible := true
		switch fault {
		case history.FaultKill, history.FaultRestart:
			possible = !self.Memory
		case history.FaultDisk:
			possible = !self.Memory && canMount()
		case history.FaultPause, history.FaultFiles:
			possible = canSignal
		}
		if possible {
			faults = append(faults, fault)
		}
	}
	return faults
}

// canMount reports whether we may make file systems.
func canMount() bool {
	dir, err := os.MkdirTemp("", "dq-")
	if err != nil {
		return false
	}
	defer os.Remove(dir)
	return mountSmall(dir, 1<<20) == nil && unmount(dir) == nil
}
