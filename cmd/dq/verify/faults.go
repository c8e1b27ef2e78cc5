package verify

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
)

// The faults that brokers of a run's own can be given.
const (
	FaultKill    = "kill"    // SIGKILL, and a start a moment later
	FaultRestart = "restart" // SIGTERM, and a start as soon as it has ended
	FaultPause   = "pause"   // SIGSTOP for longer than the clients wait, then SIGCONT
	FaultDisk    = "disk"    // the disk is full until messages are refused, and for a while
	FaultFiles   = "files"   // idle clients take all file descriptors that the broker has left, for a while
	FaultClients = "clients" // clients hang up before the answer; see [Options.Vanish]
)

// AllFaults are all faults.
var AllFaults = []string{FaultKill, FaultRestart, FaultPause, FaultDisk, FaultFiles, FaultClients}

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
type breaker struct {
	self    Self
	brokers []*process
	rec     *recorder
	faults  []string
	disk    bool // Dir is a disk of its own
}

// prepare checks that the faults can be made.
func (b *breaker) prepare(faults []string) error {
	for _, fault := range faults {
		if !slices.Contains(AllFaults, fault) {
			return fmt.Errorf("there is no fault %q", fault)
		}
		if b.self.Memory && (fault == FaultKill || fault == FaultRestart || fault == FaultDisk) {
			return fmt.Errorf("fault %q: in memory nothing is promised to survive it", fault)
		}
		if fault != FaultClients {
			b.faults = append(b.faults, fault)
		}
	}
	if slices.Contains(faults, FaultFiles) {
		b.self.Command = withFileLimit(b.self.Command, fileLimit)
	}
	if !slices.Contains(faults, FaultDisk) {
		return nil
	}
	if err := mountSmall(b.self.Dir, diskSize); err != nil {
		return fmt.Errorf("fault %q needs a small file system of its own: %w", FaultDisk, err)
	}
	b.disk = true
	return nil
}

// release ends the brokers and frees what prepare took.
func (b *breaker) release() (err error) {
	for _, p := range slices.Backward(b.brokers) {
		if p.cmd != nil {
			p.end(syscall.SIGTERM)
		}
	}
	if b.disk {
		err = unmount(b.self.Dir)
	}
	return err
}

// work breaks brokers until ctx ends. Then all of them are up.
func (b *breaker) work(ctx context.Context) error {
	for len(b.faults) > 0 {
		for _, p := range b.brokers {
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
		if err := b.fault(ctx, b.faults[rand.IntN(len(b.faults))], b.brokers[rand.IntN(len(b.brokers))]); err != nil {
			return err
		}
	}
	return nil
}

// revive starts a broker again that has ended by itself, and tells of it.
func (b *breaker) revive(p *process) error {
	select {
	case <-p.ended:
		b.stuck("the broker stays up (its log says why it ended)")
		return p.start()
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
func (b *breaker) fault(ctx context.Context, fault string, p *process) (err error) {
	op := &Op{Kind: opFault, Worker: "breaker", Name: fault, Outcome: ok, Call: b.rec.now(), Facade: slices.Index(b.brokers, p)}
	switch fault {
	case FaultKill:
		p.end(os.Kill)
		time.Sleep(rand.N(downAtMost))
		err = p.start()
	case FaultRestart:
		if p.end(syscall.SIGTERM) {
			b.stuck(fmt.Sprintf("the broker ends within %s of SIGTERM", readyTime))
		}
		err = p.start()
	case FaultPause:
		pause(p)
		sleep(ctx, requestTimeout+time.Second+rand.N(2*time.Second))
		resume(p)
	case FaultFiles:
		flood(p, func() { sleep(ctx, fullTime) })
	case FaultDisk:
		err = b.fillDisk(ctx)
	}
	op.Return = b.rec.now()
	b.rec.add(op)
	return err
}

// stuck tells of what did not come about.
func (b *breaker) stuck(what string) {
	b.rec.add(&Op{Kind: opStuck, Worker: "breaker", Topic: faultTopic, Name: what, Outcome: ok, Call: b.rec.now(), Return: b.rec.now()})
}

// faultTopic is where it is told what brokers did not do when they should have
// recovered.
const faultTopic = "(faults)"

// fillDisk fills the disk until calls fail, and for a while, and restarts the
// broker if it does not recover by itself when there is space.
func (b *breaker) fillDisk(ctx context.Context) error {
	ballast := filepath.Join(b.self.Dir, "ballast")
	file, err := os.Create(ballast)
	if err != nil {
		return err
	}
	before, _ := b.rec.failures()
	begin := time.Now()
	for failed := before; failed == before && ctx.Err() == nil && time.Since(begin) < fillTime; failed, _ = b.rec.failures() {
		_, err := io.CopyN(file, zeros{}, diskSize) // all that is left, again and again
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		sleep(ctx, retryPause)
	}
	sleep(ctx, fullTime)
	if err := errors.Join(file.Close(), os.Remove(ballast)); err != nil {
		return err
	}
	if b.recovers(ctx) {
		return nil
	}
	b.stuck(fmt.Sprintf("no call fails any more %s after there is space on the disk again", recoveryTime))
	b.brokers[0].end(os.Kill)
	return b.brokers[0].start()
}

// recovers reports whether, in time, calls do not fail any more.
func (b *breaker) recovers(ctx context.Context) bool {
	for deadline := time.Now().Add(recoveryTime); time.Now().Before(deadline); {
		failed, answered := b.rec.failures()
		time.Sleep(requestTimeout + time.Second)
		failedLater, answeredLater := b.rec.failures()
		if failed == failedLater && (answered < answeredLater || ctx.Err() != nil) {
			return true
		}
	}
	return false
}

// flood has many connections open while do runs.
func flood(p *process, do func()) {
	for range floodSize {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(p.url, "http://"), time.Second)
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
func Possible(self Self, own bool) (faults []string) {
	if !own {
		return []string{FaultClients}
	}
	for _, fault := range AllFaults {
		possible := true
		switch fault {
		case FaultKill, FaultRestart:
			possible = !self.Memory
		case FaultDisk:
			possible = !self.Memory && canMount()
		case FaultPause, FaultFiles:
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
