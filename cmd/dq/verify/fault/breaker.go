package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"dq/cmd/dq/verify/history"
)

// Topic is the topic under which the history holds what brokers failed to do after
// a fault.
const Topic = "(faults)"

const (
	calmAtLeast = 500 * time.Millisecond // between two faults
	calmAtMost  = 3 * time.Second
	downAtMost  = 500 * time.Millisecond // between a kill and the next start
	fullTime    = 2 * time.Second        // how long a broker has no disk space or no file descriptors

	// fileLimit is the number of file descriptors of a broker that will run out of
	// them. It takes floodSize connections.
	fileLimit = 512
	floodSize = 600
)

// Breaker runs the brokers of a deployment and breaks them.
type Breaker struct {
	deployment Deployment
	faults     []string // those that are made here; the clients make the others
	brokers    []*process
	mounted    bool // the directory of the deployment is a file system of its own
}

// Start starts the brokers of a deployment, and returns a breaker that can make
// the faults. Log gets the output of the brokers. It fails for a fault that is not
// known or cannot be made here, and when a broker does not start.
func Start(d Deployment, faults []string, log io.Writer) (*Breaker, error) {
	if err := d.check(faults); err != nil {
		return nil, err
	}
	b := &Breaker{
		deployment: d,
		faults:     slices.Clone(faults),
	}
	b.faults = slices.DeleteFunc(b.faults, func(f string) bool { return f == history.FaultClients })
	if err := b.start(log); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// check checks that the faults exist, and that d promises to survive them.
func (d *Deployment) check(faults []string) error {
	for _, fault := range faults {
		if !slices.Contains(history.AllFaults, fault) {
			return fmt.Errorf("unknown fault %q: want some of %q", fault, history.AllFaults)
		}
		if d.Memory && losesMemory(fault) {
			return fmt.Errorf("fault %q needs files: in memory nothing is promised to survive it", fault)
		}
	}
	return nil
}

// losesMemory reports whether a fault is about what is stored in files.
func losesMemory(fault string) bool {
	return fault == history.FaultKill || fault == history.FaultRestart || fault == history.FaultDisk
}

func (b *Breaker) start(log io.Writer) (err error) {
	d := &b.deployment
	if slices.Contains(b.faults, history.FaultFiles) {
		d.Command = withFileLimit(d.Command, fileLimit)
	}
	if slices.Contains(b.faults, history.FaultDisk) {
		if err := mountSmall(d.Dir, diskSize); err != nil {
			return fmt.Errorf("fault %q needs to mount a file system, try it as root: %w", history.FaultDisk, err)
		}
		b.mounted = true
	}

	b.brokers, err = d.brokers(log)
	if err != nil {
		return err
	}
	for _, p := range b.brokers {
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

// URLs returns the base URLs of the brokers.
func (b *Breaker) URLs() []string {
	var urls []string
	for _, p := range b.brokers {
		urls = append(urls, p.url())
	}
	return urls
}

// Close ends the brokers, and unmounts what was mounted.
func (b *Breaker) Close() error {
	for _, p := range slices.Backward(b.brokers) {
		if p.cmd != nil {
			p.end(syscall.SIGTERM)
		}
	}
	if b.mounted {
		return unmount(b.deployment.Dir)
	}
	return nil
}

// Run breaks one broker after the other until ctx ends, and records the faults.
// When it returns, all brokers run. It fails when a broker does not start again.
func (b *Breaker) Run(ctx context.Context, rec *history.Recorder) error {
	for len(b.faults) > 0 {
		for _, p := range b.brokers {
			if err := restartIfEnded(p, rec); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return nil
		}

		if !sleep(ctx, calmAtLeast+rand.N(calmAtMost-calmAtLeast)) {
			continue // a broker may have ended during the pause
		}
		fault := b.faults[rand.IntN(len(b.faults))]
		if err := b.makeFault(ctx, rec, fault, rand.IntN(len(b.brokers))); err != nil {
			return err
		}
	}
	return nil
}

// restartIfEnded starts a broker that nobody has ended, and records that it did
// end.
func restartIfEnded(p *process, rec *history.Recorder) error {
	if !p.hasEnded() {
		return nil
	}
	recordStuck(rec, "the broker stays up (its log says why it ended)")
	return p.start()
}

// recordStuck records that brokers did not reach a goal.
func recordStuck(rec *history.Recorder, goal string) {
	now := rec.Now()
	rec.Add(&history.Op{
		Kind: history.OpStuck, Worker: "breaker", Topic: Topic,
		Name: goal, Outcome: history.OK, Call: now, Return: now,
	})
}

// sleep waits, and reports whether ctx lasted that long.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// makeFault makes a fault at one broker, repairs it and records it.
func (b *Breaker) makeFault(ctx context.Context, rec *history.Recorder, fault string, broker int) (err error) {
	op := &history.Op{
		Kind: history.OpFault, Worker: "breaker", Name: fault, Facade: broker,
		Outcome: history.OK, Call: rec.Now(),
	}

	p := b.brokers[broker]
	switch fault {
	case history.FaultKill:
		p.end(os.Kill)
		time.Sleep(rand.N(downAtMost))
		err = p.start()
	case history.FaultRestart:
		if p.end(syscall.SIGTERM) {
			recordStuck(rec, fmt.Sprintf("the broker ends within %s of SIGTERM", readyTime))
		}
		err = p.start()
	case history.FaultPause:
		pause(p)
		sleep(ctx, requestTimeout+time.Second+rand.N(2*time.Second))
		resume(p)
	case history.FaultFiles:
		flood(ctx, p)
	case history.FaultDisk:
		err = b.fillDisk(ctx, rec)
	}

	op.Return = rec.Now()
	rec.Add(op)
	return err
}

// flood holds more connections open than the broker has file descriptors, for a
// while.
func flood(ctx context.Context, p *process) {
	for range floodSize {
		conn, err := net.DialTimeout("tcp", p.addr, time.Second)
		if err != nil {
			break
		}
		defer conn.Close()
	}
	sleep(ctx, fullTime)
}
