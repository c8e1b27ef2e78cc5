package jetstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/semaphore"

	"dq/jetstream/engine"
)

const (
	// lockBucket is the key-value bucket with an entry for each topic whose stream some
	// process is creating, changing or deleting. It is used only if processes share the
	// engine.
	lockBucket = "dq_locks"

	// lockTime is how long an entry lives after its owner last wrote it, so the engine removes the entry of a process
	// that died. The owner writes it again after a third of the time, and relies on it for three quarters of the time.
	lockTime = 10 * time.Second

	// lockAttempts is how many attempts to write or read the entry take lockTime, if none is answered.
	lockAttempts = 8

	// alterTime bounds how long one change of a topic may take. A change continues after the call that asked for it has
	// ended.
	alterTime = 5 * time.Minute
)

// alter calls change while no other call, of any process, creates, changes, purges or deletes the stream of topic. From
// two concurrent creations, with a deletion in between, the engine could make two streams, one of which nobody can
// delete. Two deletions could remove the files of a stream that is created between them.
//
// If ctx ends before change is called, alter returns a [*BusyError]. If ctx ends while change runs, alter returns an
// [*UnavailableError], and the topic stays locked until change returns: the engine finishes a request even if nobody
// waits for it. Other errors: those of change.
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

// locks holds what the locks of all topics share.
type locks struct {
	mu    sync.Mutex
	turns map[string]*turn // for the calls of this process, by topic

	time    time.Duration       // lockTime, or a test's
	opening *semaphore.Weighted // held while the bucket is opened
	bucket  jetstream.KeyValue  // nil before the first lock that needs it
}

func newLocks() locks {
	return locks{turns: make(map[string]*turn), time: lockTime, opening: semaphore.NewWeighted(1)}
}

// turn lets the calls of this process for one topic take turns.
type turn struct {
	sem   *semaphore.Weighted
	calls int // that have the turn, or wait for it
}

// acquire waits until it is the call's turn for topic. The caller must call release to end the turn.
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

// A topicLock is the lock of a topic: an entry in the bucket of locks. If this process has the engine to itself, it has
// no entry.
//
// If the owner dies, the engine removes the entry after lockTime. If the owner stands still for longer than that,
// another process gets the lock; then check fails, and the owner sends no further request. Engine and owner each
// measure how long ago the entry was written, so their clocks need not agree. One case remains: an owner that stands
// still between check and its next request. The engine cannot refuse that request.
type topicLock struct {
	ctx context.Context // ends when the lock is lost

	kv       jetstream.KeyValue // nil if no entry is needed
	time     time.Duration      // how long the entry lives
	topic    string
	owner    []byte
	lose     context.CancelCauseFunc
	renewing sync.WaitGroup
	unsure   time.Time // when the first write was sent that may have created the entry; zero if there was none

	mu       sync.Mutex
	revision uint64    // of the entry
	written  time.Time // when the last write of the entry was sent
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

// acquire creates the entry of the topic as soon as no other process has one.
func (l *topicLock) acquire(ctx context.Context, t *Topics) (err error) {
	if l.kv, err = t.openLocks(ctx); err != nil {
		return err
	}
	host, _ := os.Hostname() // for people who look at the bucket
	l.owner = fmt.Appendf(nil, "pid %d on %s, call %s", os.Getpid(), host, nuid.Next())

	taken := false
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err = l.create(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || !isConflict(err) && !mayRepeat(err):
			if !l.unsure.IsZero() {
				go l.release() // the entry may be there, or come
			}
			if taken && ctx.Err() != nil {
				return errLockTaken
			}
			return err
		}

		taken = taken || isConflict(err)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return errLockTaken
		}
	}
}

// create creates the entry. A leader that was lost may have stored it without an answer: then the next attempt finds
// the entry of this call.
func (l *topicLock) create(ctx context.Context) error {
	attempt, cancel := context.WithTimeout(ctx, l.time/lockAttempts)
	defer cancel()
	sent := time.Now()
	revision, err := l.kv.Create(attempt, l.topic, l.owner)
	if err == nil {
		l.revision, l.written = revision, sent
		return nil
	}

	if isConflict(err) && !l.unsure.IsZero() {
		if own, _ := l.readBack(ctx); own > 0 {
			l.revision, l.written = own, l.unsure
			return nil
		}
	}
	if l.unsure.IsZero() && !reachedNobody(err) && (!isConflict(err) || time.Since(sent) > prompt) {
		l.unsure = sent
	}
	return err
}

// readBack returns the revision of the entry if it is that of this call, and 0 if it is not, or no entry exists.
func (l *topicLock) readBack(ctx context.Context) (revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.time/lockAttempts)
	defer cancel()
	entry, err := l.kv.Get(ctx, l.topic)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, nil
	case err != nil || !bytes.Equal(entry.Value(), l.owner):
		return 0, err
	}
	return entry.Revision(), nil
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
	wait := l.time / 3
	if !l.unsure.IsZero() {
		wait = 0 // the entry may be older than it seems
	}
	for {
		select {
		case <-time.After(wait):
		case <-l.ctx.Done():
			return
		}

		lost, err := l.write()
		if lost || err != nil && l.check() != nil {
			l.lose(errLockLost)
			return
		}
		wait = l.time / 3
		if err != nil {
			wait = l.time / 100
		}
	}
}

// write writes the entry once. Lost says that the entry is not that of this call any more. A leader that was lost may
// have stored an earlier write without an answer, so a refused one is no proof.
func (l *topicLock) write() (lost bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.time/lockAttempts)
	defer cancel()
	sent := time.Now()
	revision, err := l.kv.Update(ctx, l.topic, l.owner, l.revision)
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.revision, l.written = revision, sent
		return false, nil
	}

	if !isConflict(err) {
		return false, err
	}
	own, unread := l.readBack(context.Background())
	if unread == nil && own == 0 {
		return true, err
	}
	if own > 0 {
		l.revision = own // the next write names it
	}
	return false, err
}

// check returns an error if another process may have the lock. Call it before each
// request that only the owner may make. Errors: [*UnavailableError].
func (l *topicLock) check() error {
	if l.kv == nil {
		return nil
	}

	// While a machine is suspended, its monotonic clock stands still; if the time of day was set back, it shows too
	// little. So the longer of the two times counts.
	l.mu.Lock()
	now, written := time.Now(), l.written
	l.mu.Unlock()
	passed := max(now.Sub(written), now.Round(0).Sub(written.Round(0)))
	if passed > l.time*3/4 || l.ctx.Err() != nil {
		return &UnavailableError{Operation: "change the topic", Harmless: true, Err: errLockLost}
	}
	return nil
}

// release removes the entry, if the process still has it. If that fails, the engine removes it after lockTime.
func (l *topicLock) release() {
	l.lose(nil)
	l.renewing.Wait()
	if l.kv == nil {
		return
	}

	ctx, cancel := context.WithTimeout(context.Background(), l.time)
	defer cancel()
	_, _ = Repeat(ctx, func(ctx context.Context) (struct{}, error) {
		if l.revision == 0 {
			own, err := l.readBack(ctx)
			if own == 0 {
				return struct{}{}, err
			}
			l.revision = own
		}
		err := l.kv.Purge(ctx, l.topic, jetstream.LastRevision(l.revision))
		if isConflict(err) { // an attempt has removed it, or a renewal without an answer has changed it
			l.revision, err = 0, errOutOfDate
		}
		return struct{}{}, err
	})
}

// isConflict reports whether err says that an entry exists already, or was changed since
// it was read.
func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) ||
		errors.As(err, &api) && (api.ErrorCode == codeWrongLastSequence || api.ErrorCode == codeWrongLastSeqR3)
}
