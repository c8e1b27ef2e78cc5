package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream"
	"dq/jetstream/engine"
	"dq/jetstream/engine/enginetest"
)

// cluster returns the cluster of three servers that the tests of this package share.
var cluster = sync.OnceValues(func() (c *enginetest.Cluster, err error) {
	c, err = enginetest.Start(3, nil)
	running = c
	return c, err
})

// running is the shared cluster, if a test has started it.
var running *enginetest.Cluster

func TestMain(m *testing.M) {
	status := m.Run()
	if running != nil {
		running.Close()
	}
	os.Exit(status)
}

// clusterStore is what a process has that works with a cluster.
type clusterStore struct {
	store
	cluster *enginetest.Cluster
	js      natsjs.JetStream
}

// openClusterStore connects to the shared cluster. Topics are stored on that many servers.
func openClusterStore(t *testing.T, replicas int) clusterStore {
	t.Helper()
	c, err := cluster()
	require.NoError(t, err)
	nc, err := engine.Connect(c.URL(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	require.NoError(t, err)

	topics, err := jetstream.NewTopics(nc, jetstream.StoreOptions{Storage: jetstream.Memory, Replicas: replicas})
	require.NoError(t, err)
	consumers, err := jetstream.NewConsumers(t.Context(), topics)
	require.NoError(t, err)
	return clusterStore{store{Topics: topics, consumers: consumers}, c, js}
}

// newTopic creates a topic of the shared cluster, and returns its name.
func (s clusterStore) newTopic(t *testing.T) (name string) {
	t.Helper()
	name = "T" + nuid.Next()
	s.create(t, name, nil)
	return name
}

func TestCluster_ProcessesThatStartTogetherShareTheirBucketsAndNeverLowerReplicas(t *testing.T) {
	t.Parallel()
	s := openClusterStore(t, 3)
	name := "b" + nuid.Next()
	open := func(replicas int) (natsjs.KeyValue, error) {
		return jetstream.EnsureBucket(t.Context(), s.js,
			jetstream.Bucket{Name: name, Storage: jetstream.Memory, Replicas: replicas})
	}

	var starts sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		starts.Go(func() { _, errs[i] = open(1 + 2*(i%2)) })
	}
	starts.Wait()
	_, last := open(1)

	for _, err := range append(errs, last) {
		assert.NoError(t, err)
	}
	stream, err := s.js.Stream(t.Context(), "KV_"+name)
	require.NoError(t, err)
	assert.Equal(t, 3, stream.CachedInfo().Config.Replicas)
	assert.False(t, stream.CachedInfo().Config.AllowDirect, "entries are read from the leader")
}

func TestCluster_MessagesAreStoredOnceWhileLeadersChange(t *testing.T) {
	t.Parallel()
	s := openClusterStore(t, 3)
	topic := s.newTopic(t)

	var stepDowns sync.WaitGroup
	stop := make(chan struct{})
	stepDowns.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				subject := "$JS.API.STREAM.LEADER.STEPDOWN." + jetstream.StreamName(topic)
				_, _ = s.js.Conn().Request(subject, nil, time.Second)
			}
		}
	})
	var want []string
	for i := range 100 {
		draft := jetstream.Draft{ID: fmt.Sprint(i), Data: fmt.Append(nil, i)}
		want = append(want, draft.ID)
		require.Eventually(t, func() bool { // a leader that steps down may answer nothing
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return s.PublishAll(ctx, topic, []jetstream.Draft{draft})[0].Err == nil
		}, 30*time.Second, time.Millisecond)
	}
	close(stop)
	stepDowns.Wait()

	assert.Equal(t, want, s.read(t, topic, jetstream.Range{Max: 1000}))
}

// A server that stood still says that a topic does not exist, before the others say that it does.
func TestCluster_TopicThatAServerServesExists(t *testing.T) {
	t.Parallel()
	s := openClusterStore(t, 3)
	topic := s.newTopic(t)
	asked := 0
	for _, request := range []string{"INFO", "PURGE"} {
		subject := "$JS.API.STREAM." + request + "." + jetstream.StreamName(topic)
		_, err := s.js.Conn().Subscribe(subject, func(m *nats.Msg) {
			if asked++; asked%2 == 1 {
				_ = m.Respond([]byte(`{"error":{"code":404,"err_code":10059,"description":"stream not found"}}`))
			}
		})
		require.NoError(t, err)
	}
	require.NoError(t, s.js.Conn().Flush())

	for range 5 {
		_, described := s.Describe(t.Context(), topic)
		_, purged := s.Purge(t.Context(), topic, 0)
		assert.NoError(t, described)
		assert.NoError(t, purged)
	}
	_, err := s.Describe(t.Context(), "T"+nuid.Next())

	var none *jetstream.TopicNotFoundError
	assert.ErrorAs(t, err, &none)
}

// Not parallel: it stops a server of the shared cluster.
func TestCluster_MessageWithoutALeaderIsNotStored(t *testing.T) {
	s := openClusterStore(t, 1)
	topic := s.newTopic(t)
	leader := s.cluster.Leader(jetstream.StreamName(topic))
	require.GreaterOrEqual(t, leader, 0)
	s.cluster.Stop(leader)

	// Until the other servers have noticed, a message may be on its way to the one that stopped.
	var notStored *jetstream.NotStoredError
	isRefused := func(publish func(ctx context.Context) error) func() bool {
		return func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			return errors.As(publish(ctx), &notStored)
		}
	}
	assert.Eventually(t, isRefused(func(ctx context.Context) error {
		return s.PublishAll(ctx, topic, drafts("a"))[0].Err
	}), 30*time.Second, time.Millisecond)
	assert.Eventually(t, isRefused(func(ctx context.Context) error {
		_, err := s.PublishAtomically(ctx, topic, drafts("b", "c"), nil)
		return err
	}), 30*time.Second, time.Millisecond)

	patient := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		patient <- s.PublishAll(ctx, topic, drafts("d"))[0].Err
	}()
	require.NoError(t, s.cluster.Run(leader))
	require.NoError(t, <-patient, "it is sent again when the leader is back")
	assert.Equal(t, []string{"d"}, s.read(t, topic, jetstream.Range{}))
}

func TestShared_SecondAnswerOfTheEngineAnswersNoOtherMessage(t *testing.T) {
	t.Parallel()
	server := startEngine(t, "")
	s := openStore(t, server, jetstream.StoreOptions{Storage: jetstream.Memory})
	nc, err := server.Connect()
	require.NoError(t, err)
	defer nc.Close()
	var first string // reply subject; used by one goroutine at a time
	answer := func(m *nats.Msg) {
		if first == "" {
			first = m.Reply
		}
		_ = nc.Publish(first, []byte(`{"stream":"dq_T","seq":1}`))
	}
	_, err = nc.Subscribe(jetstream.Subject("T", ""), answer)
	require.NoError(t, err)
	require.NoError(t, nc.Flush())

	s.publish(t, "T", drafts("first")...)
	receipts := s.PublishAll(soon(t), "T", drafts("second"))

	var unknown *jetstream.UnavailableError
	assert.ErrorAs(t, receipts[0].Err, &unknown)
}

func TestShared_MessageGoesIntoNoStreamButThatOfItsTopic(t *testing.T) {
	t.Parallel()
	server := startEngine(t, "")
	s := openStore(t, server, jetstream.StoreOptions{Storage: jetstream.Memory})
	nc, err := server.Connect()
	require.NoError(t, err)
	defer nc.Close()
	js, err := natsjs.New(nc)
	require.NoError(t, err)
	foreign, err := js.CreateStream(t.Context(), natsjs.StreamConfig{
		Name: "foreign", Subjects: []string{"dq.>"}, AllowAtomicPublish: true, Storage: natsjs.MemoryStorage,
	})
	require.NoError(t, err)

	alone := s.PublishAll(t.Context(), "T", drafts("a"))[0].Err
	_, atomic := s.PublishAtomically(t.Context(), "T", drafts("b", "c"), nil)
	classic := s.Publish(t.Context(), "T", []byte("d"))

	var none *jetstream.TopicNotFoundError
	for _, err := range []error{alone, atomic, classic} {
		assert.ErrorAs(t, err, &none)
	}
	info, err := foreign.Info(t.Context())
	require.NoError(t, err)
	assert.Zero(t, info.State.Msgs)
}
