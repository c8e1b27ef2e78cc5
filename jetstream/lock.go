package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"dq/jetstream/engine"
)

const (
	// lockBucket is the key-value bucket with an entry for each topic whose stream some
	// process is creating, changing or deleting. It is used only if processes share the
	// engine.
	lockBucket = "dq_locks"

	// lockTime is how long an entry lives after its owner wrote it last: the engine
	// removes that of a process that has died. The owner writes it again three times as
	// often, and relies on it for three quarters of the time.
	lockTime = 10 * time.Second

	// alterTime bounds how long one change of a topic may take. It goes on when the call
	// that asked for it has ended.
	alterTime = 5 * time.Minute
)

// alter calls change while no other call, of any process, creates, changes, purges or
// deletes the stream of topic. Of two creations side by side, with a deletion in between, the engine
// would make two streams, of which one can never be deleted; two deletions could remove
// the files of a stream that is created between them.
//
// The engine goes on with what it was asked for when nobody waits any more, and change
// does too: if ctx ends earlier, alter returns an [*UnavailableError], and the topic stays
// locked until change returns. If ctx ends before it is the turn of change, alter returns a
// [*BusyError]. Other errors: those of change.
func (t *Topics) alter(
	ctx context.Context, topic string, change func(ctx context.Context, lock *topicLock) error,
) error {
	release, err := t.locks.acquire(ctx, topic)
	if err != nil {
		return &BusyError{Topic: topic}
	}
	lock, err := t.lock(ctx, topic)
	if err != nil {
		release()
		return err
	}

	changed := make(chan error, 1)
	go func() {
		defer release()
		defer lock.release()
		ctx, cancel := context.WithTimeout(lock.ctx, alterTime)
		defer cancel()
		changed <- change(ctx, lock)
	}()

	select {
	case err := <-changed:
		return err
	case <-ctx.Done():
		return engine.Unavailable("change the topic", context.Cause(ctx))
	}
}

// locks are what the locks of all topics have in common.
type locks struct {
	mu    sync.Mutex
	turns map[string]*turn // of the calls of this process, by topic

	time    time.Duration       // lockTime, or a test's
	opening *semaphore.Weighted // held while bucket is opened
	bucket  jetstream.KeyValue  // nil before the first lock that needs it
}

func newLocks() locks {
	return locks{turns: make(map[string]*turn), time: lockTime, opening: semaphore.NewWeighted(1)}
}

// turn lets the calls of this process for one topic take turns.
type turn struct {
	sem   *semaphore.Weighted
	calls int // that have it, or wait for it
}

// acquire waits until it is the call's turn for topic, and returns what ends it.
func (l *locks) acquire(ctx context.Context, topic string) (release func(), err error) {
	l.mu.Lock()
	own := l.turns[topic]
	if own == nil {
		own = &turn{sem: semaphore.NewWeighted(1)}
		l.turns[topic] = own
	}
	own.calls++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if own.calls--; own.calls == 0 {
			delete(l.turns, topic)
		}
	}
	if err := own.sem.Acquire(ctx, 1); err != nil {
		leave()
		return nil, err
	}
	return func() {
		own.sem.Release(1)
		leave()
	}, nil
}

// A topicLock is a topic's entry in the bucket of locks, or nothing if this process has
// the engine to itself.
//
// If its owner dies, the engine removes the entry after a time. If the owner stands
// still for longer than that, another process gets the lock; then check fails, and the
// owner asks the engine for nothing more. Both measure how long ago the entry was written,
// never the time of day of another machine. What remains is an owner that stops between
// check and the request that it sends next: the engine has no way to refuse that one.
type topicLock struct {
	ctx context.Context // ends when the lock is lost

	kv       jetstream.KeyValue // nil if no entry is needed
	time     time.Duration      // how long the entry lives
	topic    string
	owner    []byte
	lose     context.CancelCauseFunc
	renewing sync.WaitGroup

	mu       sync.Mutex
	revision uint64    // of the entry
	written  time.Time // before the entry was written last
}

// errLockLost says that another process may have the lock of a topic.
var errLockLost = errors.New("the broker stood still, or did not reach the engine, while it held the topic's lock")

// errLockTaken says that another process holds the lock of a topic.
var errLockTaken = errors.New("another process holds the lock of the topic")

// lock waits until no other process holds the lock of topic, and takes it.
// Errors: [*BusyError], [*UnavailableError].
func (t *Topics) lock(ctx context.Context, topic string) (*topicLock, error) {
	l := &topicLock{topic: EncodeName(topic), time: t.locks.time}
	l.ctx, l.lose = context.WithCancelCause(context.Background())
	if t.opts.Alone {
		return l, nil
	}

	if err := l.acquire(ctx, t); err != nil {
		l.lose(err)
		if errors.Is(err, errLockTaken) {
			return nil, &BusyError{Topic: topic}
		}
		return nil, &UnavailableError{Operation: "lock the topic", Harmless: true, Err: err}
	}
	l.renewing.Go(l.renew)
	return l, nil
}

// acquire creates the entry of the topic once nobody else has one there.
func (l *topicLock) acquire(ctx context.Context, t *Topics) (err error) {
	if l.kv, err = t.openLocks(ctx); err != nil {
		return err
	}
	host, _ := os.Hostname() // for people who look at the bucket
	l.owner = fmt.Appendf(nil, "pid %d on %s", os.Getpid(), host)

	taken := false
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		l.written = time.Now()
		l.revision, err = l.kv.Create(ctx, l.topic, l.owner)
		switch {
		case err == nil:
			return nil
		case taken && ctx.Err() != nil:
			return errLockTaken
		case !isConflict(err):
			return err
		}

		taken = true
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return errLockTaken
		}
	}
}

// openLocks opens the bucket of locks, and creates it if it does not exist.
func (t *Topics) openLocks(ctx context.Context) (jetstream.KeyValue, error) {
	if err := t.locks.opening.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer t.locks.opening.Release(1)
	if t.locks.bucket != nil {
		return t.locks.bucket, nil
	}

	kv, err := EnsureBucket(ctx, t.js, Bucket{
		Name:        lockBucket,
		Description: "which broker is creating, changing or deleting a topic",
		TTL:         t.locks.time,
		Storage:     t.opts.Storage,
		Replicas:    t.opts.Replicas,
	})
	if err == nil {
		t.locks.bucket = kv
	}
	return kv, err
}

// renew keeps the entry alive until the lock is released. It ends the lock's context when
// another process may have the lock.
func (l *topicLock) renew() {
	for {
		select {
		case <-time.After(l.time / 3):
		case <-l.ctx.Done():
			return
		}

		now := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), l.time/3)
		revision, err := l.kv.Update(ctx, l.topic, l.owner, l.revision)
		cancel()

		l.mu.Lock()
		if err == nil {
			l.revision, l.written = revision, now
		}
		l.mu.Unlock()
		if err != nil && (isConflict(err) || l.check() != nil) {
			l.lose(errLockLost)
			return
		}
	}
}

// check returns an error if another process may have the lock. Call it before each
// request that only the owner may make. Errors: [*UnavailableError].
func (l *topicLock) check() error {
	if l.kv == nil {
		return nil
	}

	// A machine that was suspended has a monotonic clock that stood still, and a clock
	// that was set back says less than has passed. The longer time counts.
	l.mu.Lock()
	now, written := time.Now(), l.written
	l.mu.Unlock()
	passed := max(now.Sub(written), now.Round(0).Sub(written.Round(0)))
	if passed > l.time*3/4 || l.ctx.Err() != nil {
		return &UnavailableError{Operation: "change the topic", Harmless: true, Err: errLockLost}
	}
	return nil
}

// release removes the entry, if the process still has it. If that fails, the engine does it
// after its time.
func (l *topicLock) release() {
	l.lose(nil)
	l.renewing.Wait()
	if l.kv == nil {
		return
	}

	ctx, cancel := context.WithTimeout(context.Background(), l.time)
	defer cancel()
	_ = l.kv.Purge(ctx, l.topic, jetstream.LastRevision(l.revision))
}

// isConflict reports whether err says that an entry exists already, or was changed since
// it was read.
func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) ||
		errors.As(err, &api) && (api.ErrorCode == codeWrongLastSequence || api.ErrorCode == codeWrongLastSeqR3)
}
