package test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/facade/access"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: t.Name()},
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{t: t, cert: cert, key: key}
}

// pem returns the authority's own certificate as the content of a file.
func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// issue returns the files of a certificate for name, and of its key.
func (a *authority) issue(name string, life time.Duration) (cert, key []byte) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: name},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter:     time.Now().Add(life),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	require.NoError(a.t, err)
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes})
}

// certified is a broker that knows alice, who may do everything, by her client certificate.
type certified struct {
	t      *testing.T
	url    string
	nats   string // the address for NATS clients
	ca     *authority
	caFile string // the authorities of clients
}

func startCertified(t *testing.T) *certified {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, content []byte) (path string) {
		path = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	ca := newAuthority(t)
	cert, key := ca.issue("broker", time.Hour)
	grant, err := access.ParseGrant(everyScope)
	require.NoError(t, err)

	cfg := natsConfig(t)
	cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA = write("cert", cert), write("key", key), write("ca", ca.pem())
	cfg.Tokens = filepath.Join(dir, "tokens.json")
	require.NoError(t, access.Append(cfg.Tokens, access.Entry{
		Name: "alice", Cert: "alice", Grants: []access.Grant{grant},
	}))
	url := brokertest.Start(t, cfg).URL()
	return &certified{t: t, url: url, nats: cfg.NATSAddr, ca: ca, caFile: cfg.TLSClientCA}
}

// alice returns the client side of TLS with a certificate for alice.
func (c *certified) alice(life time.Duration) *tls.Config {
	c.t.Helper()
	pair, err := tls.X509KeyPair(c.ca.issue("alice", life))
	require.NoError(c.t, err)
	roots := x509.NewCertPool()
	roots.AddCert(c.ca.cert)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
}

// distrust replaces the authorities of clients with another one.
func (c *certified) distrust() {
	c.t.Helper()
	require.NoError(c.t, os.WriteFile(c.caFile+".new", newAuthority(c.t).pem(), 0o600))
	require.NoError(c.t, os.Rename(c.caFile+".new", c.caFile))
}

// do makes a call that must have an answer, and returns that.
func (c *certified) do(client *http.Client, call call) response {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), call.method, c.url+call.path, nil)
	require.NoError(c.t, err)
	if call.body != nil {
		request.Body = io.NopCloser(strings.NewReader(jsonOf(c.t, call.body)))
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := client.Do(request)
	require.NoError(c.t, err)
	defer answer.Body.Close()
	return readAll(c.t, answer)
}

func clientWith(t *testing.T, config *tls.Config) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestClientCert_RemovedAuthorityEndsOpenCalls(t *testing.T) {
	t.Parallel()
	c := startCertified(t)
	config := c.alice(time.Hour)
	client := clientWith(t, config)
	c.do(client, call{method: "PUT", path: path("T")})
	c.do(client, call{method: "POST", path: path("T", "consumers"), body: object{"name": "c", "mode": "lease"}})

	stream, err := client.Get(c.url + path("T", "consumers", "c", "stream"))
	require.NoError(t, err)
	defer stream.Body.Close()
	dialer := &websocket.Dialer{TLSClientConfig: config}
	ws, upgraded, err := dialer.Dial("wss"+strings.TrimPrefix(c.url, "https")+path("T", "consumers", "c", "socket"), nil)
	require.NoError(t, err)
	defer ws.Close()
	defer upgraded.Body.Close()
	idle, err := tls.Dial("tcp", strings.TrimPrefix(c.url, "https://"), config)
	require.NoError(t, err)
	defer idle.Close()
	require.NoError(t, idle.Handshake())
	polled := make(chan response, 1)
	go func() {
		polled <- c.do(client, call{method: "GET", path: path("T", "messages") + "?from=new&wait=50s"})
	}()

	c.distrust()

	events, err := io.ReadAll(stream.Body)
	require.NoError(t, err)
	assert.Contains(t, string(events), "no longer trusts the authority")
	_, text, err := ws.ReadMessage()
	require.NoError(t, err)
	assert.Contains(t, string(text), "no longer trusts the authority")
	_, _, err = ws.ReadMessage()
	var closed *websocket.CloseError
	assert.ErrorAs(t, err, &closed)
	assert.Equal(t, 401, (<-polled).status)

	// A connection that was let in before and is used only now.
	_, err = io.WriteString(idle, "GET /v1/topics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(idle), nil)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	assert.Equal(t, 401, answer.StatusCode)
	assert.True(t, answer.Close, "the client needs a new connection")
}

func TestClientCert_ExpiryEndsALongPoll(t *testing.T) {
	t.Parallel()
	c := startCertified(t)
	c.do(clientWith(t, c.alice(time.Hour)), call{method: "PUT", path: path("T")})
	client := clientWith(t, c.alice(3*time.Second))
	poll := call{method: "GET", path: path("T", "messages") + "?from=new&wait=50s"}

	ended := c.do(client, poll)

	assert.Equal(t, 401, ended.status, ended.body)
	assert.Contains(t, ended.body, "expired")
}
