package sdk_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/sdk"
)

// connectTo returns a client of the broker at an address.
func connectTo(t *testing.T, address string, opts ...sdk.Option) *sdk.Client {
	t.Helper()
	client, err := sdk.New(address, opts...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// newClient starts a broker and returns a client of it.
func newClient(t *testing.T, opts ...sdk.Option) *sdk.Client {
	t.Helper()
	return connectTo(t, brokertest.Start(t, brokertest.Config("")).URL(), opts...)
}

// newTopic starts a broker and creates the topic T.
func newTopic(t *testing.T, settings sdk.PartialSettings) *sdk.Topic {
	t.Helper()
	topic := newClient(t).Topic("T")
	_, _, err := topic.Create(t.Context(), settings)
	require.NoError(t, err)
	return topic
}

// texts returns messages with these texts.
func texts(texts ...string) (messages []sdk.NewMessage) {
	for _, text := range texts {
		messages = append(messages, sdk.Text(text))
	}
	return messages
}

// startServer starts an HTTP server in place of a broker, which may misbehave. It
// counts the requests that it receives.
func startServer(t *testing.T, handle http.HandlerFunc) (address string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handle(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// write answers with a body.
func write(w http.ResponseWriter, body string) { _, _ = io.WriteString(w, body) }

// writeProblem answers with a failure of the modern API.
func writeProblem(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	write(w, body)
}

// hangUp reads the request and breaks the connection.
func hangUp(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}
