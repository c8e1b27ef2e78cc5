package jetstream

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream/engine"
)

// openTopics returns the topics of a process that uses server.
func openTopics(t *testing.T, server *engine.Server, alone bool) *Topics {
	t.Helper()
	nc, err := server.Connect()
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	topics, err := NewTopics(nc, StoreOptions{
		Storage: File, Replicas: 1, Alone: alone, RemoveDeletedFiles: server.RemoveDeletedFiles,
	})
	require.NoError(t, err)
	topics.locks.time = 2 * time.Second
	return topics
}

func TestLock_RacingCreationsAndDeletionsLeaveOneStreamOrNone(t *testing.T) {
	t.Parallel()
	for name, processes := range map[string]int{"alone": 1, "shared": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startEngine(t, t.TempDir())
			all := make([]*Topics, processes)
			for i := range all {
				all[i] = openTopics(t, server, processes == 1)
			}

			var racing sync.WaitGroup
			for i := range 8 {
				topics := all[i%processes]
				racing.Go(func() {
					for range 60 / processes {
						_ = topics.Create(t.Context(), "T", topics.DefaultSettings()) // it may exist
						_ = topics.Delete(t.Context(), "T")
					}
				})
			}
			racing.Wait()
			_ = all[0].Delete(t.Context(), "T")

			var none *TopicNotFoundError
			assert.ErrorAs(t, all[0].Publish(t.Context(), "T", []byte("x")), &none)
			require.NoError(t, all[0].Create(t.Context(), "T", all[0].DefaultSettings()))
			for sequence := range uint64(5) {
				receipts := all[0].PublishAll(t.Context(), "T", []Draft{{Data: []byte("x")}})
				require.NoError(t, receipts[0].Err)
				assert.Equal(t, sequence+1, receipts[0].Sequence)
			}
		})
	}
}

func TestLock_OfADeadProcessEnds(t *testing.T) {
	t.Parallel()
	server := startEngine(t, "")
	dead, living := openTopics(t, server, false), openTopics(t, server, false)
	kv, err := dead.openLocks(t.Context())
	require.NoError(t, err)
	_, err = kv.Create(t.Context(), "T", []byte("dead"))
	require.NoError(t, err)
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()

	early := living.Create(short, "T", living.DefaultSettings())
	late := living.Create(t.Context(), "T", living.DefaultSettings())

	assert.Error(t, early)
	assert.NoError(t, late)
}

func TestLock_ThatAnotherProcessHasGotIsNotReliedOn(t *testing.T) {
	t.Parallel()
	topics := openTopics(t, startEngine(t, ""), false)
	lock, err := topics.lock(t.Context(), "T")
	require.NoError(t, err)
	defer lock.release()
	require.NoError(t, lock.check())
	kv, err := topics.openLocks(t.Context())
	require.NoError(t, err)

	other, err := kv.PutString(t.Context(), "T", "other")
	require.NoError(t, err)
	<-lock.ctx.Done()

	assert.ErrorIs(t, lock.check(), errLockLost)
	lock.release()
	entry, err := kv.Get(t.Context(), "T")
	if !errors.Is(err, jetstream.ErrKeyNotFound) { // it has come to its own end
		require.NoError(t, err)
		assert.Equal(t, other, entry.Revision(), "the other's lock stays")
	}
}

func TestLock_IsKeptUntilAChangeEndsThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{true, false} {
		topics := openTopics(t, startEngine(t, ""), alone)
		ctx, cancel := context.WithCancel(t.Context())
		proceed, ended := make(chan struct{}), make(chan struct{})

		left := topics.alter(ctx, "T", func(ctx context.Context, lock *topicLock) error {
			cancel()
			<-proceed
			assert.NoError(t, ctx.Err())
			assert.NoError(t, lock.check())
			close(ended)
			return nil
		})
		var unavailable *UnavailableError
		assert.ErrorAs(t, left, &unavailable)
		go func() {
			defer close(proceed)
			if !alone {
				awaitRenewals(t, topics, 4) // without them the entry would be gone before
			}
		}()

		require.NoError(t, topics.alter(t.Context(), "T", func(context.Context, *topicLock) error {
			select {
			case <-ended:
			default:
				t.Error("two changes at a time")
			}
			return nil
		}))
	}
}

// awaitRenewals returns when the lock of the topic T was renewed n times.
func awaitRenewals(t *testing.T, topics *Topics, n int) {
	t.Helper()
	kv, err := topics.openLocks(t.Context())
	if !assert.NoError(t, err) {
		return
	}
	watcher, err := kv.Watch(t.Context(), "T", jetstream.UpdatesOnly())
	if !assert.NoError(t, err) {
		return
	}
	defer func() { _ = watcher.Stop() }()

	for range n {
		<-watcher.Updates()
	}
}

func TestLock_DeletedTopicIsGoneBeforeAllOfItIsRemoved(t *testing.T) {
	t.Parallel()
	topics := openTopics(t, startEngine(t, ""), true)
	require.NoError(t, topics.Create(t.Context(), "T", topics.DefaultSettings()))
	ctx, cancel := context.WithCancel(t.Context())
	removing, proceed := make(chan struct{}), make(chan struct{})
	removed := 0
	topics.OnGone(func(context.Context, string) error {
		if removed++; removed == 1 {
			close(removing)
			<-proceed
		}
		return nil
	})

	go func() { <-removing; cancel() }()
	require.NoError(t, topics.Delete(ctx, "T"), "what is left is removed in the background")
	var none *TopicNotFoundError
	assert.ErrorAs(t, topics.Publish(t.Context(), "T", []byte("x")), &none)
	short, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	early := topics.Create(short, "T", topics.DefaultSettings())
	close(proceed)

	assert.Equal(t, &BusyError{Topic: "T"}, early, "a new topic must not find what is left")
	assert.NoError(t, topics.Create(t.Context(), "T", topics.DefaultSettings()))
	assert.Equal(t, 2, removed)
}

func TestLock_RequestThatARestartOfTheEngineLostIsMadeAgain(t *testing.T) {
	t.Parallel()
	topics := openTopics(t, startEngine(t, ""), true)
	asked := make(chan struct{}, 1)
	_, err := topics.nc.Subscribe("nobody.answers", func(*nats.Msg) { asked <- struct{}{} })
	require.NoError(t, err)
	go func() {
		<-asked
		_ = topics.nc.ForceReconnect()
	}()

	attempts := 0
	err = topics.alter(t.Context(), "T", func(ctx context.Context, _ *topicLock) error {
		_, err := repeat(ctx, topics, func(ctx context.Context) (any, error) {
			if attempts++; attempts == 1 {
				return topics.nc.RequestWithContext(ctx, "nobody.answers", nil)
			}
			return topics.nc.RequestWithContext(ctx, "$JS.API.INFO", nil)
		})
		return err
	})

	require.NoError(t, err)
	assert.Equal(t, 2, attempts)
}

func TestLock_PurgeWaitsForADeletion(t *testing.T) {
	t.Parallel()
	topics := openTopics(t, startEngine(t, ""), true)
	require.NoError(t, topics.Create(t.Context(), "T", topics.DefaultSettings()))
	require.NoError(t, topics.Publish(t.Context(), "T", []byte("old")))

	var early error
	require.NoError(t, topics.alter(t.Context(), "T", func(context.Context, *topicLock) error {
		short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, early = topics.Purge(short, "T", 0)
		return nil
	}))
	purged, err := topics.Purge(t.Context(), "T", 0)

	assert.Equal(t, &BusyError{Topic: "T"}, early)
	require.NoError(t, err)
	assert.EqualValues(t, 1, purged)
}

// A lossyBucket stores what is written, and loses the first answers.
type lossyBucket struct {
	jetstream.KeyValue
	creations, updates, removals int // whose answers are lost
}

func lose(left *int, revision uint64, err error) (uint64, error) {
	if *left--; *left >= 0 {
		return 0, context.DeadlineExceeded
	}
	return revision, err
}

func (b *lossyBucket) Create(
	ctx context.Context, key string, value []byte, opts ...jetstream.KVCreateOpt,
) (uint64, error) {
	revision, err := b.KeyValue.Create(ctx, key, value, opts...)
	return lose(&b.creations, revision, err)
}

func (b *lossyBucket) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	revision, err := b.KeyValue.Update(ctx, key, value, last)
	return lose(&b.updates, revision, err)
}

func (b *lossyBucket) Purge(ctx context.Context, key string, opts ...jetstream.KVDeleteOpt) error {
	_, err := lose(&b.removals, 0, b.KeyValue.Purge(ctx, key, opts...))
	return err
}

func TestLock_LostAnswersCostItNothing(t *testing.T) {
	t.Parallel()
	topics := openTopics(t, startEngine(t, ""), false)
	kv, err := topics.openLocks(t.Context())
	require.NoError(t, err)
	topics.locks.bucket = &lossyBucket{KeyValue: kv, creations: 1, updates: 1, removals: 1}

	lock, err := topics.lock(t.Context(), "T")
	require.NoError(t, err)
	awaitRenewals(t, topics, 3)
	held := lock.check()
	lock.release()
	_, released := kv.Get(t.Context(), "T")

	assert.NoError(t, held)
	assert.ErrorIs(t, released, jetstream.ErrKeyNotFound)
}
