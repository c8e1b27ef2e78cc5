package test

import (
	"crypto/tls"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
)

// startNATSGuarded starts a broker that asks for tokens, with a port for NATS clients.
func startNATSGuarded(t *testing.T, grants map[string]string) (*guarded, broker.Config) {
	t.Helper()
	g, cfg := prepareGuarded(t, grants), natsConfig(t)
	g.startWith(cfg)
	return g, cfg
}

// connectToken connects a NATS client that shows a token.
func connectToken(t *testing.T, cfg broker.Config, token string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://"+cfg.NATSAddr, nats.Token(token), nats.ReconnectWait(10*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// makeDurable makes a durable consumer of a topic.
func makeDurable(t *testing.T, nc *nats.Conn, topic, name string) {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateConsumer(t.Context(), "dq_"+topic,
		jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(t, err)
}

func TestNATSPort_TokenPublishesAndPulls(t *testing.T) {
	t.Parallel()
	g, cfg := startNATSGuarded(t, map[string]string{"root": everyScope, "alice": "a*=produce,consume"})
	alice := connectToken(t, cfg, g.tokens["alice"])
	g.put("root", path("a.1"), nil).is(http.StatusCreated) // later than the login
	makeDurable(t, connectNATS(t, cfg), "a=2E1", "workers")
	js, err := jetstream.New(alice)
	require.NoError(t, err)

	_, err = js.Publish(t.Context(), "dq.a=2E1.-", []byte("x"), jetstream.WithRetryAttempts(100))
	require.NoError(t, err)
	workers, err := js.Consumer(t.Context(), "dq_a=2E1", "workers")
	require.NoError(t, err)
	m, err := workers.Next(jetstream.FetchMaxWait(10 * time.Second))
	require.NoError(t, err)
	require.NoError(t, m.DoubleAck(t.Context()))

	assert.Equal(t, "dq.a=2E1.-", m.Subject())
	assert.Equal(t, "x", string(m.Data()))
	info, err := workers.Info(t.Context())
	require.NoError(t, err)
	assert.Zero(t, info.NumAckPending, "the acknowledgement counts")
}

func TestNATSPort_TokenHasNoRightsElsewhere(t *testing.T) {
	t.Parallel()
	g, cfg := startNATSGuarded(t, map[string]string{
		"root": everyScope, "alice": "A=produce,consume", "reader": "A=consume", "writer": "A=produce",
	})
	for _, topic := range []string{"A", "B"} {
		g.put("root", path(topic), nil).is(http.StatusCreated)
		g.post("root", path(topic, "messages"), topic).is(http.StatusCreated)
		makeDurable(t, connectNATS(t, cfg), topic, "w")
	}
	refused := map[string][]string{
		"alice": {
			"dq.B.-", "dq-delayed.wait.x", "$KV.dq_registry.x", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.dq_B",
			"$JS.API.STREAM.INFO.dq-delayed", "$JS.API.STREAM.DELETE.dq_A", "$JS.API.STREAM.PURGE.dq_A",
			"$JS.API.CONSUMER.CREATE.dq_A.x", "$JS.API.CONSUMER.DELETE.dq_A.w", "$JS.API.CONSUMER.MSG.NEXT.dq_B.w",
			"$JS.API.DIRECT.GET.KV_dq_registry", "$JS.ACK.dq_B.w.1.1.1.1.1", "$SYS.REQ.SERVER.PING",
		},
		"reader": {"dq.A.-"},
		"writer": {"$JS.API.STREAM.INFO.dq_A", "$JS.API.CONSUMER.MSG.NEXT.dq_A.w", "$JS.API.DIRECT.GET.dq_A"},
	}

	for name, subjects := range refused {
		nc := connectToken(t, cfg, g.tokens[name])
		for _, subject := range subjects {
			_, err := nc.Request(subject, []byte("{}"), 10*time.Second)
			assert.ErrorIs(t, err, nats.ErrNoResponders, "%s: %s", name, subject)
		}
	}
	assert.Contains(t, g.get("root", path("B")).body, `"messages":1`)
}

func TestNATSPort_ReplyReachesNoSubjectOfOthers(t *testing.T) {
	t.Parallel()
	g, cfg := startNATSGuarded(t, map[string]string{
		"root": everyScope, "alice": "A=produce,consume", "bob": "B=produce,consume",
	})
	for _, topic := range []string{"A", "B"} {
		g.put("root", path(topic), nil).is(http.StatusCreated)
		makeDurable(t, connectNATS(t, cfg), topic, "w")
	}
	g.post("root", path("A", "messages"), "secret").is(http.StatusCreated)
	alice, bob := connectToken(t, cfg, g.tokens["alice"]), connectToken(t, cfg, g.tokens["bob"])
	heard, err := bob.SubscribeSync(">")
	require.NoError(t, err)
	require.NoError(t, bob.Flush())

	require.NoError(t, alice.PublishRequest("$JS.API.CONSUMER.MSG.NEXT.dq_A.w", "dq.B.-", []byte("1")))
	answer, err := alice.Request("$JS.API.STREAM.INFO.dq_A", nil, 10*time.Second)
	require.NoError(t, err)
	require.Contains(t, string(answer.Data), "dq_A")

	require.NoError(t, bob.Flush())
	pending, _, err := heard.Pending()
	require.NoError(t, err)
	assert.Zero(t, pending, "bob receives nothing from alice")
	assert.Contains(t, g.get("root", path("B")).body, `"messages":0`, "alice stores nothing in a topic of others")
}

func TestNATSPort_ConnectionEndsWithTheToken(t *testing.T) {
	t.Parallel()
	g, cfg := startNATSGuarded(t, map[string]string{"root": everyScope, "alice": "A=produce", "bob": "A=produce"})
	g.put("root", path("A"), nil).is(http.StatusCreated)
	alice, bob := connectToken(t, cfg, g.tokens["alice"]), connectToken(t, cfg, g.tokens["bob"])

	g.revoke("alice")

	require.Eventually(t, alice.IsClosed, 10*time.Second, 10*time.Millisecond, "alice may not connect again")
	_, err := bob.Request("dq.A.-", []byte("x"), 10*time.Second)
	assert.NoError(t, err)
	assert.Zero(t, bob.Stats().Reconnects, "clients that keep their rights keep their connections")
}

func TestNATSPort_UnknownTokenIsRefusedAndAudited(t *testing.T) {
	t.Parallel()
	g, cfg := startNATSGuarded(t, map[string]string{"root": everyScope})
	wrong := []nats.Option{
		nats.Token(g.tokens["root"] + "x"), nats.UserInfo("dq", "wrong"), nats.UserInfo("", ""), nats.Name("nobody"),
	}

	for _, login := range wrong {
		_, err := nats.Connect("nats://"+cfg.NATSAddr, login)
		assert.ErrorIs(t, err, nats.ErrAuthorization)
	}

	audit, err := os.ReadFile(g.audit)
	require.NoError(t, err)
	assert.Contains(t, string(audit), "NATS CONNECT")
	assert.NotContains(t, string(audit), g.tokens["root"])
}

func TestNATSPort_SpeaksTLSAndKnowsCertificates(t *testing.T) {
	t.Parallel()
	c := startCertified(t)
	c.do(clientWith(t, c.alice(time.Hour)), call{method: "PUT", path: path("A")}).is(http.StatusCreated)
	connect := func(config *tls.Config) (*nats.Conn, error) {
		return nats.Connect("nats://"+c.nats, nats.Secure(config), nats.NoReconnect())
	}
	stranger := c.alice(time.Hour)
	stranger.Certificates = nil

	alice, err := connect(c.alice(time.Hour))
	require.NoError(t, err)
	defer alice.Close()
	_, refused := connect(stranger)
	_, plain := nats.Connect("nats://" + c.nats)

	_, err = alice.Request("dq.A.-", []byte("x"), 10*time.Second)
	require.NoError(t, err)
	require.ErrorIs(t, refused, nats.ErrAuthorization)
	require.Error(t, plain)
	c.distrust()
	assert.Eventually(t, alice.IsClosed, 10*time.Second, 10*time.Millisecond, "her authority is not trusted any more")
}
