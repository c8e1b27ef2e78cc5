package test

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

func TestTLS_PlainHTTPIsToldToUseHTTPS(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, tlsConfig(t))
	conn := dial(t, strings.Replace(b.URL(), "https://", "http://", 1))

	_, err := io.WriteString(conn, "GET /topics HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)

	assert.Equal(t, http.StatusBadRequest, answer.StatusCode)
	assert.Contains(t, string(text), "https://")
	assert.True(t, answer.Close)
}

func TestTLS_WhatIsNoHTTPGetsNoAnswer(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, tlsConfig(t))
	conn := dial(t, strings.Replace(b.URL(), "https://", "http://", 1))

	_, err := io.WriteString(conn, "EHLO example\r\n")
	require.NoError(t, err)
	answer, _ := io.ReadAll(conn)

	assert.NotContains(t, string(answer), "HTTP/")
}

// tlsConfig returns the configuration of a broker that speaks HTTPS.
func tlsConfig(t *testing.T) broker.Config {
	t.Helper()
	server := httptest.NewTLSServer(nil) // has a certificate
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)

	cfg, dir := brokertest.Config(""), t.TempDir()
	cfg.TLSCert, cfg.TLSKey = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]pem.Block{
		cfg.TLSCert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		cfg.TLSKey:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&block), 0o600))
	}
	return cfg
}
