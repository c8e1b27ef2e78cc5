package sdk_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

func TestClient_WrongAddressIsRefused(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "ftp://x", "http://", "a b"} {
		_, err := sdk.New(address)

		assert.Error(t, err, address)
	}
}

func TestClient_TimeoutOfZeroIsRefused(t *testing.T) {
	t.Parallel()

	_, err := sdk.New("127.0.0.1:1", sdk.WithTimeout(0))

	assert.Error(t, err)
}

func TestClient_TokenAndTLSConfigAreUsed(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			writeProblem(w, http.StatusUnauthorized, `{"code":"unauthenticated","detail":"who are you"}`)
			return
		}
		write(w, `{"name":"T"}`)
	}))
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	trust := sdk.WithTLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13})
	client := connectTo(t, s.URL, trust, sdk.WithToken("secret"))
	stranger := connectTo(t, s.URL, trust)

	_, err := client.Topic("T").Describe(t.Context())
	_, refusal := stranger.Topic("T").Describe(t.Context())

	require.NoError(t, err)
	require.ErrorIs(t, refusal, sdk.ErrUnauthenticated)
}

func TestClient_ConnectionsAreReused(t *testing.T) {
	t.Parallel()
	var dials atomic.Int32
	transport := http.DefaultTransport.(*http.Transport).Clone()
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, address)
	}
	client := newClient(t, sdk.WithTransport(transport))
	producer, err := client.RegisterProducer(t.Context(), "T")
	require.NoError(t, err)
	consumer, err := client.RegisterConsumer(t.Context(), "T")
	require.NoError(t, err)

	for i := range 20 {
		require.NoError(t, client.Produce(t.Context(), "T", producer, fmt.Sprint(i)))
		_, err := client.Consume(t.Context(), "T", consumer)
		require.NoError(t, err)
		_, err = client.Consume(t.Context(), "T", consumer)
		require.ErrorIs(t, err, sdk.ErrEmpty)
	}

	assert.EqualValues(t, 1, dials.Load())
}
