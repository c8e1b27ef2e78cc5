package jetstream

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	ownerRenew = 2 * time.Second  // how often the owner renews its message
	ownerValid = 6 * time.Second  // how long after a renewal it may act
	ownerGone  = 12 * time.Second // how long after a renewal another process takes over, by its own clock
	ownerPoll  = time.Second      // how often the others look
)

// An owner lets only one of the processes that share an engine move due messages. That process, the owner, writes a
// message into the stream of the delayed messages at intervals. The engine refuses that message after another process
// has taken over.
type owner struct {
	topics *Topics
	id     string

	sequence uint64    // of the latest renewal, of any process
	seen     time.Time // when this process saw it first

	renewed atomic.Int64 // when this process began its latest renewal that succeeded, in Unix nanoseconds
}

func newOwner(topics *Topics) *owner { return &owner{topics: topics, id: nuid.Next()} }

// acquire waits until this process is the owner, or ctx ends.
func (o *owner) acquire(ctx context.Context) {
	for ctx.Err() == nil && !o.tryAcquire(ctx) {
		sleep(ctx, ownerPoll)
	}
}

func (o *owner) tryAcquire(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, o.topics.opts.CallTimeout)
	defer cancel()
	latest, err := o.topics.fromLeader(ctx, delayStream, getRequest{LastFor: ownerSubject})
	if err != nil {
		return false
	}

	if latest == nil {
		o.sequence = 0
		return o.renew(ctx, o.id)
	}
	m, err := decode(latest)
	if err != nil {
		return false
	}
	if m.Sequence != o.sequence {
		o.sequence, o.seen = m.Sequence, time.Now()
	}
	released := len(m.Data) == 0
	return (released || time.Since(o.seen) > ownerGone) && o.renew(ctx, o.id)
}

// renew stores that this process is the owner or, without an id, that nobody is. It
// fails if another process has done so since.
func (o *owner) renew(ctx context.Context, id string) bool {
	begun := time.Now()
	m := nats.NewMsg(ownerSubject)
	m.Data = []byte(id)
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(o.sequence, 10))
	answer := o.topics.publisher.publish(ctx, m)[0]
	if answer.err != nil {
		return false
	}
	o.sequence = answer.sequence
	o.renewed.Store(begun.UnixNano())
	return true
}

// valid reports whether this process may still act as the owner.
func (o *owner) valid() bool { return time.Since(time.Unix(0, o.renewed.Load())) < ownerValid }

// keep renews the ownership until release is called. The context that it returns ends
// when the ownership is lost, or ctx ends.
func (o *owner) keep(ctx context.Context) (owned context.Context, release func()) {
	owned, lost := context.WithCancel(ctx)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		defer lost()
		for sleep(renewing, ownerRenew) {
			call, cancel := context.WithTimeout(renewing, ownerRenew)
			ok := o.renew(call, o.id)
			cancel()
			if !ok && !o.valid() {
				return
			}
		}
	}()

	return owned, func() {
		stop()
		<-stopped
		if o.valid() {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.topics.opts.CallTimeout)
			o.renew(last, "")
			cancel()
		}
		o.renewed.Store(0)
	}
}
