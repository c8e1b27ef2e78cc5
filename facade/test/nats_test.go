package test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
)

// subjectsOfTopics are the NATS subjects of topics, without the last token, which is that of the key.
var subjectsOfTopics = map[string]string{"T": "dq.T.", "a.b c/ü": "dq.a=2Eb=20c=2F=C3=BC."}

// oddHeaders are headers that the NATS server lets pass: blocks of lines, without the first line.
var oddHeaders = []string{
	"\xff: a\r\n\xfe: b",
	"a: \xff\xfe",
	"Content-Type: \xff\x01",
	"content-type: a\r\nContent-Type: b\r\nContent-Type: c",
	"Status: 404",
	"Status: 503\r\nDescription: No Responders",
	"Nats-Sequence: 7",
	"Nats-Subject: other\r\nNats-Time-Stamp: never\r\nNats-Stream: none\r\nNats-Num-Pending: 12",
	"Nats-Last-Sequence: 1\r\nNats-UpTo-Sequence: 1",
	"a b: c",
	"a(b): \x01\x7f",
	": no name",
	"empty:",
	strings.Repeat("x", 300) + ": " + strings.Repeat("y", 3000),
	"no colon",
	"\tfolded: a\r\n b",
}

// connectNATS returns a NATS client of the broker with that configuration.
func connectNATS(t *testing.T, cfg broker.Config) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://"+cfg.NATSAddr, nats.UserInfo(cfg.NATSUser, cfg.NATSPassword))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

// rawNATS returns a function that publishes what no NATS library would publish.
func rawNATS(t *testing.T, cfg broker.Config) func(subject, headers, data string) {
	t.Helper()
	conn, err := net.Dial("tcp", cfg.NATSAddr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	lines := bufio.NewReader(conn)
	expect := func(start string) {
		t.Helper()
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(line, start), line)
	}

	expect("INFO")
	login := jsonOf(t, object{"user": cfg.NATSUser, "pass": cfg.NATSPassword, "headers": true, "verbose": false})
	fmt.Fprintf(conn, "CONNECT %s\r\nPING\r\n", login)
	expect("PONG")

	return func(subject, headers, data string) {
		t.Helper()
		if headers == "" {
			fmt.Fprintf(conn, "PUB %s %d\r\n%s\r\nPING\r\n", subject, len(data), data)
		} else {
			block := "NATS/1.0\r\n" + headers + "\r\n\r\n"
			all := block + data
			fmt.Fprintf(conn, "HPUB %s %d %d\r\n%s\r\nPING\r\n", subject, len(block), len(all), all)
		}
		expect("PONG")
	}
}

func TestNATS_PublishedMessageIsReadOverHTTP(t *testing.T) {
	t.Parallel()
	cfg := natsConfig(t)
	a := startAPI(t, cfg)
	nc := connectNATS(t, cfg)
	for name, subject := range subjectsOfTopics {
		made := a.createTopic(name)
		assert.Equal(t, subject+"*", made.Subject)
		c, keyed := a.register(name), a.register(name, object{"key": "k.1"})
		heard, err := nc.SubscribeSync(subject + "*")
		require.NoError(t, err)
		poll := make(chan []message, 1)
		go func() { poll <- keyed.fetch(within) }()
		require.Empty(t, c.fetch("wait=100ms")) // by then the poll waits

		m := nats.NewMsg(subject + "k=2E1")
		m.Data = []byte("from NATS")
		m.Header.Set("Content-Type", "text/plain")
		m.Header.Set("h", "v")
		_, err = nc.RequestMsg(m, 10*time.Second) // the engine's confirmation
		require.NoError(t, err)

		for _, got := range [][]message{<-poll, c.fetch()} {
			require.Len(t, got, 1)
			assert.Equal(t, message{
				Sequence: 1, Time: got[0].Time, Key: "k.1", ContentType: "text/plain",
				Headers: map[string]string{"h": "v"}, Data: new("from NATS"),
			}, got[0])
			assert.WithinDuration(t, time.Now(), got[0].Time, time.Minute)
		}
		_, err = heard.NextMsg(10 * time.Second)
		require.NoError(t, err)
	}
}

func TestNATS_SubscriberHearsWhatIsProducedOverHTTP(t *testing.T) {
	t.Parallel()
	cfg := natsConfig(t)
	a := startAPI(t, cfg)
	nc := connectNATS(t, cfg)
	for name, subject := range subjectsOfTopics {
		a.createTopic(name)
		c := a.register(name)
		heard, err := nc.SubscribeSync(subject + "*")
		require.NoError(t, err)
		plain, err := nc.SubscribeSync(subject + "-")
		require.NoError(t, err)
		require.NoError(t, nc.Flush())

		a.produce(name, []object{
			{"data": "from HTTP", "key": "k.2", "content_type": "text/plain", "headers": object{"h": "v"}},
			{"data": "plain"},
			{"data": "dash", "key": "-"},
		})

		assert.Equal(t, "-", c.fetch("limit=10")[2].Key)
		got, err := heard.NextMsg(10 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, subject+"k=2E2", got.Subject)
		assert.Equal(t, "from HTTP", string(got.Data))
		assert.Equal(t, "text/plain", got.Header.Get("Content-Type"))
		assert.Equal(t, "v", got.Header.Get("h"))
		got, err = plain.NextMsg(10 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, "plain", string(got.Data))
	}
}

func TestNATS_WhateverAClientPublishesCanBeRead(t *testing.T) {
	t.Parallel()
	cfg := natsConfig(t)
	a := startAPI(t, cfg)
	a.createTopic("T")
	raw, lease := a.register("T"), a.register("T", object{"mode": "lease"})

	publish := rawNATS(t, cfg)
	for i, headers := range append([]string{""}, oddHeaders...) {
		for _, data := range []string{"", "text", "\xff\xfe"} {
			publish(fmt.Sprintf("dq.T.k%d", i), headers, data)
		}
	}
	for _, token := range []string{"=", "=zz", "a=2eb", "\xff\xff", "ü", strings.Repeat("x", 400)} {
		publish("dq.T."+token, "", token)
	}

	total := 3*(len(oddHeaders)+1) + 6
	old := a.classic().registerConsumer("T")
	a.consumer("T", old).seek("first")
	assert.EqualValues(t, total, lease.describe().Size)
	require.Len(t, lease.fetch("limit=1000"), total)
	require.Len(t, a.browse("T"), total)
	for i := range total {
		a.get(path("T", "messages", i+1)).is(http.StatusOK)
		raw.post("fetch?raw=true", nil).is(http.StatusOK)
		require.Equal(t, http.StatusOK, a.classic().consume("T", old).HTTP)
	}
	dying := a.register("T", object{"mode": "lease", "start": "first", "max_deliveries": 1, "dead_letter_topic": "D"})
	dying.nack(tokensOf(dying.fetch("limit=1000")), 0).is(http.StatusNoContent)
	dying.fetch()
	assert.Len(t, a.browse("D"), total)
}
