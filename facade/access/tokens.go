package access

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/hex"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"
)

// Tokens are the tokens of a broker. All methods are safe for concurrent use.
type Tokens struct {
	path    string
	current atomic.Pointer[table]
	watcher *watcher
}

// table is a file of tokens, ready to be asked.
type table struct {
	// byHash has the first bytes of a hash for its key, and leaves the rest to a
	// comparison in constant time. What the time of a lookup could tell is
	// something of a hash, and from that nobody gets to a token.
	byHash map[[8]byte][]*Principal
	byCert map[string]*Principal
	byName map[string]*Principal

	valid   context.Context // until there is a newer one
	replace context.CancelFunc
}

// Open reads the file of tokens at path and follows its changes until Close. A
// change that is wrong is logged, and leaves the tokens as they were. Errors of
// the file's content are [*FileError].
func Open(path string, logger *slog.Logger) (_ *Tokens, err error) {
	t := &Tokens{path: path}
	t.current.Store(newTable(File{}, &table{}))
	t.watcher, err = watch("tokens", []string{path}, t.load, logger)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Close stops following the file.
func (t *Tokens) Close() { t.watcher.close() }

func (t *Tokens) load(contents [][]byte) error {
	file, err := Parse(t.path, contents[0])
	if err != nil {
		return err
	}
	before := t.current.Load()
	t.current.Store(newTable(file, before))
	before.replace()
	return nil
}

// OnChange calls f in a goroutine of its own when the tokens change, and when that
// of p expires, until stop is called. Who waits for long is to ask then whether it
// still may.
func (t *Tokens) OnChange(p *Principal, f func()) (stop func() bool) {
	forget := context.AfterFunc(t.current.Load().valid, f)
	if p.expires.IsZero() {
		return forget
	}
	expiry := time.AfterFunc(time.Until(p.expires), f)
	return func() bool {
		expiry.Stop()
		return forget()
	}
}

// newTable makes the table of a file that was checked. A principal keeps the
// account that it had in the table before if its limits are still the same.
func newTable(file File, before *table) *table {
	next := &table{
		byHash: make(map[[8]byte][]*Principal),
		byCert: make(map[string]*Principal),
		byName: make(map[string]*Principal),
	}
	next.valid, next.replace = context.WithCancel(context.Background())
	for _, e := range file.Tokens {
		p := &Principal{name: e.Name, cert: e.Cert, grants: e.Grants, expires: e.Expires}
		if old := before.byName[e.Name]; old != nil && reflect.DeepEqual(old.account.limits, e.Limits) {
			p.account = old.account
		} else {
			p.account = newAccount(e.Limits)
		}
		next.byName[e.Name] = p
		if e.Cert != "" {
			next.byCert[e.Cert] = p
		}
		if e.SHA256 != "" {
			_, _ = hex.Decode(p.hash[:], []byte(e.SHA256)) // was checked
			key := [8]byte(p.hash[:8])
			next.byHash[key] = append(next.byHash[key], p)
		}
	}
	return next
}

// Authenticate finds whose request it is by its Authorization header, or, if
// there is none, by the verified client certificate of its connection, which is
// nil if that has no TLS. Every error is an [*UnauthenticatedError].
func (t *Tokens) Authenticate(authorization []byte, connection *tls.ConnectionState) (*Principal, error) {
	if len(authorization) == 0 {
		if connection == nil || len(connection.VerifiedChains) == 0 {
			return nil, &UnauthenticatedError{Missing}
		}
		name := connection.VerifiedChains[0][0].Subject.CommonName
		return valid(t.current.Load().byCert[name])
	}
	token, ok := bearer(authorization)
	if !ok {
		return nil, &UnauthenticatedError{Malformed}
	}
	return valid(t.current.Load().find(hashOf(token)))
}

func (t *table) find(hash [hashSize]byte) (found *Principal) {
	for _, p := range t.byHash[[8]byte(hash[:8])] {
		if subtle.ConstantTimeCompare(p.hash[:], hash[:]) == 1 {
			found = p
		}
	}
	return found
}

// Renew returns what p may do by now, for work that takes longer than a request,
// or an [*UnauthenticatedError] if its token was revoked or has expired.
func (t *Tokens) Renew(p *Principal) (*Principal, error) {
	now := t.current.Load().byName[p.name]
	if now != nil && (now.hash != p.hash || now.cert != p.cert) {
		now = nil // the name is another token's
	}
	return valid(now)
}

func valid(p *Principal) (*Principal, error) {
	switch {
	case p == nil:
		return nil, &UnauthenticatedError{Unknown}
	case !p.expires.IsZero() && !time.Now().Before(p.expires):
		return nil, &UnauthenticatedError{Expired}
	}
	return p, nil
}
