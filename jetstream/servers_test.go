package jetstream_test

import (
	"log/slog"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream"
	"dq/jetstream/engine"
)

// connectElsewhere starts a nats-server with these options, and connects to it as a broker does.
func connectElsewhere(t *testing.T, opts *server.Options, login ...nats.Option) *nats.Conn {
	t.Helper()
	opts.Host, opts.Port, opts.NoSigs, opts.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, t.TempDir()
	ns, err := server.NewServer(opts)
	require.NoError(t, err)
	ns.Start()
	t.Cleanup(func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	})
	nc, err := engine.Connect(ns.ClientURL(), slog.New(slog.DiscardHandler), login...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func TestServers_ThoseBelowTheNeededLevelAreRefused(t *testing.T) {
	t.Parallel()
	nc := connectElsewhere(t, &server.Options{})
	answers := make(chan string, 1)
	_, err := nc.Subscribe("$JS.API.INFO", func(m *nats.Msg) { _ = m.Respond([]byte(<-answers)) })
	require.NoError(t, err)

	for answer, refused := range map[string]bool{
		`{"api":{"total":1}}`: true, `{"api":{"level":1}}`: true, `{"api":{"level":2}}`: false,
	} {
		answers <- answer
		err := jetstream.CheckServers(t.Context(), nc)

		var old *jetstream.OldServersError
		assert.Equal(t, refused, assert.ErrorAs(&silent{}, err, &old), "%s: %v", answer, err)
		assert.Equal(t, refused, err != nil && !jetstream.MayPass(err))
	}
}

// silent ignores failed assertions.
type silent struct{}

func (*silent) Errorf(string, ...any) {}

func TestServers_MissingPermissionIsSaid(t *testing.T) {
	t.Parallel()
	user := &server.User{Username: "u", Password: "p", Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.CREATE.>", "dq.T.>"}},
	}}
	nc := connectElsewhere(t, &server.Options{JetStream: true, Users: []*server.User{user}}, nats.UserInfo("u", "p"))
	js, err := natsjs.New(nc)
	require.NoError(t, err)

	_, err = jetstream.EnsureBucket(t.Context(), js, jetstream.Bucket{Name: "b", Replicas: 1})

	var permission *jetstream.PermissionError
	require.ErrorAs(t, err, &permission)
	assert.ErrorContains(t, err, "$JS.API.STREAM.CREATE.KV_b")
	assert.False(t, jetstream.MayPass(err), "waiting does not help")
}

func TestServers_MessageAboveTheirMaximumIsTooLarge(t *testing.T) {
	t.Parallel()
	nc := connectElsewhere(t, &server.Options{JetStream: true, MaxPayload: 10_000})
	topics, err := jetstream.NewTopics(nc, jetstream.StoreOptions{Storage: jetstream.Memory, Replicas: 1})
	require.NoError(t, err)
	s := store{Topics: topics}
	s.create(t, "T", nil)

	receipts := s.PublishAll(t.Context(), "T", drafts(string(make([]byte, 20_000)), "fits"))
	_, atomic := s.PublishAtomically(t.Context(), "T", drafts("a", string(make([]byte, 20_000))), nil)

	var tooLarge *jetstream.MessageTooLargeError
	for _, err := range []error{receipts[0].Err, atomic} {
		require.ErrorAs(t, err, &tooLarge)
		assert.Equal(t, jetstream.MessageTooLargeError{Limit: 10_000, OfServers: true}, *tooLarge)
	}
	assert.Equal(t, []string{"fits"}, s.read(t, "T", jetstream.Range{}))
}

func TestServers_StreamOnTheSubjectsOfATopicIsSaid(t *testing.T) {
	t.Parallel()
	nc := connectElsewhere(t, &server.Options{JetStream: true})
	js, err := natsjs.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), natsjs.StreamConfig{Name: "foreign", Subjects: []string{"dq.>"}})
	require.NoError(t, err)
	topics, err := jetstream.NewTopics(nc, jetstream.StoreOptions{Storage: jetstream.Memory, Replicas: 1})
	require.NoError(t, err)

	err = topics.Create(t.Context(), "T", topics.DefaultSettings())

	var taken *jetstream.SubjectsTakenError
	assert.ErrorAs(t, err, &taken)
}

func TestServers_SecretInAURLIsNotShown(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"nats://u:s#cret@127.0.0.1:1", "nats://u:s%cret@h:1", "nats://u:scret@h:x"} {
		_, err := engine.Connect(url, slog.New(slog.DiscardHandler))

		require.Error(t, err)
		assert.NotContains(t, err.Error(), "cret", url)
	}
}
