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

// connectNATS is a NATS client of the broker with that configuration.
func connectNATS(t *testing.T, cfg broker.Config) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://"+cfg.NATSAddr, nats.UserInfo(cfg.NATSUser, cfg.NATSPassword))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}

func TestNATS_ClientsShareTopicsWithHTTPClients(t *testing.T) {
	t.Parallel()
	cfg := natsConfig(t)
	a := startAPI(t, cfg)
	nc := connectNATS(t, cfg)
	for name, subject := range map[string]string{"T": "dq.T.", "a.b c/ü": "dq.a=2Eb=20c=2F=C3=BC."} {
		made := a.topic(name, "")
		assert.Equal(t, subject+"*", made.Subject)
		c := a.consumer(name, "")
		keyed := a.consumer(name, `{"key":"k.1"}`)
		heard, err := nc.SubscribeSync(subject + "*")
		require.NoError(t, err)
		plain, err := nc.SubscribeSync(subject + "-")
		require.NoError(t, err)

		poll := make(chan []message, 1)
		go func() { poll <- a.fetch(name, keyed.ID, within) }()
		require.Empty(t, a.fetch(name, c.ID, "wait=100ms"))
		m := nats.NewMsg(subject + "k=2E1")
		m.Data = []byte("from NATS")
		m.Header.Set("Content-Type", "text/plain")
		m.Header.Set("h", "v")
		_, err = nc.RequestMsg(m, 10*time.Second) // the engine's confirmation
		require.NoError(t, err)
		for _, got := range [][]message{<-poll, a.fetch(name, c.ID, "")} {
			require.Len(t, got, 1)
			assert.Equal(t, message{
				Sequence: 1, Time: got[0].Time, Key: "k.1", ContentType: "text/plain", Headers: map[string]string{"h": "v"}, Data: new("from NATS"),
			}, got[0])
			assert.WithinDuration(t, time.Now(), got[0].Time, time.Minute)
		}
		_, err = heard.NextMsg(10 * time.Second)
		require.NoError(t, err)

		a.produce(name, `[{"data":"from HTTP","key":"k.2","content_type":"text/plain","headers":{"h":"v"}},{"data":"plain"},{"data":"dash","key":"-"}]`)
		assert.Equal(t, "-", a.fetch(name, c.ID, "limit=10")[2].Key)
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

// odd are headers that NATS lets pass: whole blocks of lines, without the
// first.
var odd = []string{
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

func TestNATS_WhateverAClientPublishesCanBeRead(t *testing.T) {
	t.Parallel()
	cfg := natsConfig(t)
	a := startAPI(t, cfg)
	a.topic("T", "")
	raw, lease := a.consumer("T", ""), a.consumer("T", `{"mode":"lease"}`)
	publish := rawNATS(t, cfg)
	for i, headers := range append([]string{""}, odd...) {
		for _, data := range []string{"", "text", "\xff\xfe"} {
			publish(fmt.Sprintf("dq.T.k%d", i), headers, data)
		}
	}
	for _, token := range []string{"=", "=zz", "a=2eb", "\xff\xff", "ü", strings.Repeat("x", 400)} {
		publish("dq.T."+token, "", token)
	}
	total := 3*(len(odd)+1) + 6
	classic := a.classic().registerConsumer("T")
	a.post(path("T", "consumers", classic, "seek"), `{"to":"first"}`).is(http.StatusOK)
	assert.EqualValues(t, total, a.describe("T", lease.ID).Size)
	require.Len(t, a.fetch("T", lease.ID, "limit=1000"), total)
	require.Len(t, a.browse("T"), total)
	for i := range total {
		a.get(path("T", "messages", i+1)).is(http.StatusOK)
		a.post(path("T", "consumers", raw.ID, "fetch")+"?raw=true", "").is(http.StatusOK)
		require.Equal(t, http.StatusOK, a.classic().consume("T", classic).HTTP)
	}
	buried := a.consumer("T", `{"mode":"lease","start":"first","max_deliveries":1,"dead_letter_topic":"D"}`)
	a.settle("T", buried.ID, "nack", tokensOf(a.fetch("T", buried.ID, "limit=1000")), "").is(http.StatusNoContent)
	a.post(path("T", "consumers", buried.ID, "fetch"), "").is(http.StatusOK)
	assert.Len(t, a.browse("D"), total)
}

// rawNATS returns a function that publishes what no NATS library would.
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
	fmt.Fprintf(conn, "CONNECT {\"user\":%q,\"pass\":%q,\"headers\":true,\"verbose\":false}\r\nPING\r\n", cfg.NATSUser, cfg.NATSPassword)
	expect("PONG")
	return func(subject, headers, data string) {
		t.Helper()
		if headers != "" {
			headers = "NATS/1.0\r\n" + headers + "\r\n\r\n"
			fmt.Fprintf(conn, "HPUB %s %d %d\r\n%s%s\r\nPING\r\n", subject, len(headers), len(headers)+len(data), headers, data)
		} else {
			fmt.Fprintf(conn, "PUB %s %d\r\n%s\r\nPING\r\n", subject, len(data), data)
		}
		expect("PONG")
	}
}
