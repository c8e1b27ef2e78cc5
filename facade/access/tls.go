package access

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
)

// TLSFiles names the PEM files that TLS needs.
type TLSFiles struct {
	Cert string // the broker's certificate, with those between it and the root
	Key  string
	// ClientCA, if it is not empty, holds the authorities of client certificates.
	// The certificate of a client that shows one is then verified.
	ClientCA string
	// RequireClientCert refuses connections without a client certificate.
	RequireClientCert bool
}

// TLS holds the broker's side of TLS 1.2 and later.
type TLS struct {
	files   TLSFiles
	current atomic.Pointer[certificates]
	watcher *watcher
}

// certificates are what the files held when they were last read.
type certificates struct {
	config      *tls.Config // of new connections
	authorities map[string]bool

	valid   context.Context // ends when the files change
	replace context.CancelFunc
}

// OpenTLS reads the files and follows their changes until Close. A later change that
// is wrong or incomplete is logged, and new connections use the files as before.
func OpenTLS(files TLSFiles, logger *slog.Logger) (_ *TLS, err error) {
	t := &TLS{files: files}
	paths := []string{files.Cert, files.Key}
	switch {
	case files.ClientCA != "":
		paths = append(paths, files.ClientCA)
	case files.RequireClientCert:
		return nil, errors.New("client certificates are required, but no file has the authorities that verify them")
	}

	if t.watcher, err = watch("TLS certificates", paths, t.load, logger); err != nil {
		return nil, err
	}
	return t, nil
}

// Close stops following the files.
func (t *TLS) Close() { t.watcher.close() }

// Config returns a configuration for [tls.NewListener]. Each new connection uses the
// files as they are then.
func (t *TLS) Config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.current.Load().config, nil },
	}
}

// load makes the configuration of new connections from the content of the files.
func (t *TLS) load(contents [][]byte) error {
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", t.files.Cert, t.files.Key, err)
	}

	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
		Certificates: []tls.Certificate{pair},
	}

	next := &certificates{config: config}
	if t.files.ClientCA != "" {
		if next.authorities, err = setAuthorities(config, contents[2]); err != nil {
			return fmt.Errorf("authorities of clients %s: %w", t.files.ClientCA, err)
		}
		config.ClientAuth = tls.VerifyClientCertIfGiven
		if t.files.RequireClientCert {
			config.ClientAuth = tls.RequireAndVerifyClientCert
		}
		// A resumed session would accept a client whose authority may have been
		// removed from the file since.
		config.SessionTicketsDisabled = true
	}

	next.valid, next.replace = context.WithCancel(context.Background())
	if before := t.current.Swap(next); before != nil {
		before.replace()
	}
	return nil
}
