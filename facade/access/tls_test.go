package access_test

import (
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
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/access"
)

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a := &authority{key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, key.Public(), key)
	require.NoError(t, err)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

// issue makes a certificate for name, and its key.
func (a *authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, private.Public(), a.key)
	require.NoError(t, err)
	bytes, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes})
}

func (a *authority) pair(t *testing.T, name string) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.issue(t, name))
	require.NoError(t, err)
	return pair
}

// server accepts connections and reports the state of each.
type server struct {
	addr   string
	states chan tls.ConnectionState
}

func serve(t *testing.T, config *tls.Config) *server {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	s := &server{addr: l.Addr().String(), states: make(chan tls.ConnectionState, 100)}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			secured := conn.(*tls.Conn)
			if secured.Handshake() == nil {
				s.states <- secured.ConnectionState()
				_, _ = secured.Write([]byte("x"))
			}
			_ = conn.Close()
		}
	}()
	return s
}

// dial connects and returns the state at the server and at the client. An error may
// come only with the first read: in TLS 1.3 a client finishes before the server does.
func (s *server) dial(t *testing.T, config *tls.Config) (at, from tls.ConnectionState, err error) {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: timeout}, "tcp", s.addr, config)
	if err != nil {
		return at, from, err
	}
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(timeout)))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return at, from, err
	}
	return <-s.states, conn.ConnectionState(), nil
}

// files writes a certificate for name, and its key, to files.
func files(t *testing.T, ca *authority, name string) access.TLSFiles {
	t.Helper()
	dir := t.TempDir()
	f := access.TLSFiles{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	cert, key := ca.issue(t, name)
	require.NoError(t, os.WriteFile(f.Cert, cert, 0o600))
	require.NoError(t, os.WriteFile(f.Key, key, 0o600))
	return f
}

func trust(ca *authority, name string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.pem)
	return &tls.Config{RootCAs: roots, ServerName: name}
}

func TestTLS_ChangedCertificateIsUsedUnlessWrong(t *testing.T) {
	t.Parallel()
	log := newTestLog()
	ca := newAuthority(t, "ca")
	f := files(t, ca, "one")
	secured, err := access.OpenTLS(f, log.Logger)
	require.NoError(t, err)
	defer secured.Close()
	s := serve(t, secured.Config())

	_, from, err := s.dial(t, trust(ca, "one"))
	require.NoError(t, err)
	assert.Equal(t, uint16(tls.VersionTLS13), from.Version)

	cert, key := ca.issue(t, "two")
	replace(t, f.Cert, cert) // the key is still that of the old one
	assert.Contains(t, log.next(t), "refused a change")
	_, _, err = s.dial(t, trust(ca, "one"))
	require.NoError(t, err, "what was loaded before stays in use")

	replace(t, f.Key, key)
	assert.Contains(t, log.next(t), "loaded a change")
	_, _, err = s.dial(t, trust(ca, "two"))
	require.NoError(t, err)
	assert.NotContains(t, log.String(), "PRIVATE KEY")

	old := trust(ca, "two")
	old.MaxVersion = tls.VersionTLS11
	_, _, err = s.dial(t, old)
	require.Error(t, err, "no TLS before 1.2")
}

func TestTLS_ClientCertificateNamesAPrincipal(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	f := files(t, ca, "dq")
	f.ClientCA = filepath.Join(t.TempDir(), "clients.pem")
	require.NoError(t, os.WriteFile(f.ClientCA, ca.pem, 0o600))
	secured, err := access.OpenTLS(f, newTestLog().Logger)
	require.NoError(t, err)
	defer secured.Close()
	s := serve(t, secured.Config())

	token, byToken := entry(t, "token", "x=consume")
	_, byCert := entry(t, "cert", "x=consume")
	byCert.SHA256, byCert.Cert = "", "machine"
	tokens, _ := open(t, newTestLog().Logger, byToken, byCert)
	connect := func(certificates ...tls.Certificate) *tls.ConnectionState {
		config := trust(ca, "dq")
		config.Certificates = certificates
		at, _, err := s.dial(t, config)
		require.NoError(t, err)
		return &at
	}

	p, err := tokens.Authenticate(nil, connect(ca.pair(t, "machine")))
	require.NoError(t, err)
	assert.Equal(t, "cert", p.Name())
	_, err = tokens.Renew(p)
	require.NoError(t, err)

	p, err = tokens.Authenticate(header(token), connect(ca.pair(t, "machine")))
	require.NoError(t, err)
	assert.Equal(t, "token", p.Name(), "a token comes before a certificate")
	_, err = tokens.Authenticate([]byte("Bearer x"), connect(ca.pair(t, "machine")))
	assert.Equal(t, access.Malformed, reasonOf(t, err), "even a wrong token")

	_, err = tokens.Authenticate(nil, connect(ca.pair(t, "stranger")))
	assert.Equal(t, access.Unknown, reasonOf(t, err))
	_, err = tokens.Authenticate(nil, connect())
	assert.Equal(t, access.Missing, reasonOf(t, err), "a certificate is optional")

	forged := trust(ca, "dq")
	pair := other.pair(t, "machine")
	forged.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	_, _, err = s.dial(t, forged)
	require.Error(t, err, "a certificate of another authority is refused")
}

func TestTLS_ClientCertificateCanBeRequired(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca")
	f := files(t, ca, "dq")
	f.RequireClientCert = true
	_, err := access.OpenTLS(f, newTestLog().Logger)
	require.ErrorContains(t, err, "no file has the authorities")
	f.ClientCA = f.Key
	_, err = access.OpenTLS(f, newTestLog().Logger)
	require.ErrorContains(t, err, "no certificate in PEM")

	f.ClientCA = filepath.Join(t.TempDir(), "clients.pem")
	require.NoError(t, os.WriteFile(f.ClientCA, ca.pem, 0o600))
	secured, err := access.OpenTLS(f, newTestLog().Logger)
	require.NoError(t, err)
	defer secured.Close()
	s := serve(t, secured.Config())

	_, _, err = s.dial(t, trust(ca, "dq"))
	require.Error(t, err)
	with := trust(ca, "dq")
	with.Certificates = []tls.Certificate{ca.pair(t, "anyone")}
	_, _, err = s.dial(t, with)
	require.NoError(t, err)
}

func TestTLS_MissingOrWrongCertificateFailsTheStart(t *testing.T) {
	t.Parallel()
	f := files(t, newAuthority(t, "ca"), "dq")

	_, err := access.OpenTLS(access.TLSFiles{Cert: f.Cert, Key: f.Cert + ".none"}, newTestLog().Logger)
	require.ErrorIs(t, err, os.ErrNotExist)

	_, err = access.OpenTLS(access.TLSFiles{Cert: f.Key, Key: f.Key}, newTestLog().Logger)
	require.ErrorContains(t, err, f.Key)
}

func TestTLS_RemovedAuthorityIsNoLongerAccepted(t *testing.T) {
	t.Parallel()
	log := newTestLog()
	ca, next := newAuthority(t, "ca"), newAuthority(t, "next")
	f := files(t, ca, "dq")
	f.RequireClientCert = true
	f.ClientCA = filepath.Join(t.TempDir(), "clients.pem")
	require.NoError(t, os.WriteFile(f.ClientCA, ca.pem, 0o600))
	secured, err := access.OpenTLS(f, log.Logger)
	require.NoError(t, err)
	defer secured.Close()
	s := serve(t, secured.Config())
	client := trust(ca, "dq")
	client.Certificates = []tls.Certificate{ca.pair(t, "machine")}
	client.ClientSessionCache = tls.NewLRUClientSessionCache(10) // it tries to resume a session
	for range 2 {
		_, from, err := s.dial(t, client)
		require.NoError(t, err)
		assert.False(t, from.DidResume)
	}

	replace(t, f.ClientCA, next.pem)
	assert.Contains(t, log.next(t), "loaded a change")
	_, _, err = s.dial(t, client)
	require.Error(t, err)
}
