package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"time"
)

// setAuthorities has config verify client certificates with the authorities in a PEM file. It returns them as a set.
func setAuthorities(config *tls.Config, file []byte) (map[string]bool, error) {
	authorities := make(map[string]bool)
	config.ClientCAs = x509.NewCertPool()
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue // a key, or a certificate of a kind that Go does not know: others in the file may do
		}
		config.ClientCAs.AddCert(cert)
		authorities[string(cert.Raw)] = true
	}

	if len(authorities) == 0 {
		return nil, errors.New("the file has no certificate in PEM")
	}
	return authorities, nil
}

// Check returns an error if the client certificate of a connection, which was verified when the connection was opened,
// would not be accepted now: it has expired, or its authority was removed from the file. A connection without a
// certificate has nothing to check. Errors: [*UnauthenticatedError].
func (t *TLS) Check(connection *tls.ConnectionState) error {
	if len(connection.VerifiedChains) == 0 {
		return nil
	}
	now := t.current.Load()
	if slices.ContainsFunc(connection.VerifiedChains, now.accept) {
		return nil
	}

	// The authority may have a new certificate for the same key.
	intermediates := x509.NewCertPool()
	for _, cert := range connection.PeerCertificates[1:] {
		intermediates.AddCert(cert)
	}
	_, err := connection.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots:         now.config.ClientCAs,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return &UnauthenticatedError{Expired}
	case err != nil:
		return &UnauthenticatedError{Untrusted}
	}
	return nil
}

// accept reports whether a chain that was verified before ends at an authority of now, and none of it has expired.
func (c *certificates) accept(chain []*x509.Certificate) bool {
	return c.authorities[string(chain[len(chain)-1].Raw)] && time.Now().Before(expiry(chain))
}

// expiry returns when the first certificate of a chain expires.
func expiry(chain []*x509.Certificate) time.Time {
	first := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	return first.NotAfter
}

// OnChange calls f in a goroutine of its own when the certificates change and when the client certificate of a
// connection expires, until stop is called. A caller that waits for long then calls [TLS.Check] to learn whether it
// may go on.
func (t *TLS) OnChange(connection *tls.ConnectionState, f func()) (stop func() bool) {
	forget := context.AfterFunc(t.current.Load().valid, f)
	if len(connection.VerifiedChains) == 0 {
		return forget
	}

	expired := time.AfterFunc(time.Until(expiry(connection.VerifiedChains[0])), f)
	return func() bool {
		expired.Stop()
		return forget()
	}
}
