package access

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"
)

const (
	// tokenPrefix lets people, and tools that look for secrets in code, recognize
	// a token.
	tokenPrefix = "dq_"
	// randomBytes is how many random bytes a new token has.
	randomBytes = 32

	hashSize = sha256.Size

	// A token of a client has from minTokenLength to maxTokenLength characters. One
	// round of SHA-256 protects only what nobody can guess, so short ones are refused.
	minTokenLength = 32
	maxTokenLength = 512
)

// NewToken makes a token of 256 random bits, and its hash in hexadecimal. Nobody
// can compute the token from its hash, or find it by trying.
func NewToken() (token, sha256 string) {
	var secret [randomBytes]byte
	_, _ = rand.Read(secret[:]) // never fails

	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	sum := hashOf([]byte(token))
	return token, hex.EncodeToString(sum[:])
}

func hashOf(token []byte) [hashSize]byte { return sha256.Sum256(token) }

// Tokens are the tokens that a broker accepts. All methods are safe for concurrent
// use.
type Tokens struct {
	path    string
	current atomic.Pointer[table]
	watcher *watcher
}

// table holds the principals of a file of tokens, by what finds them.
type table struct {
	// byHash maps the first bytes of a hash; the rest of it is compared in constant
	// time. The time of a lookup can therefore reveal at most a part of a hash, and
	// nobody can compute a token from that.
	byHash map[[8]byte][]*Principal
	byCert map[string]*Principal
	byName map[string]*Principal

	valid   context.Context // ends when a newer table replaces this one
	replace context.CancelFunc
}

// Open reads the file of tokens at path and follows its changes until Close. A
// later change that is wrong is logged, and the tokens stay as they were. Errors:
// [*FileError] for the content of the file, and those of reading it.
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

// newTable makes the table of a file that was checked. A principal whose limits are
// the same as in the table before keeps its account, and so what it has used.
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
			_, _ = hex.Decode(p.hash[:], []byte(e.SHA256)) // Parse has checked it
			key := [8]byte(p.hash[:8])
			next.byHash[key] = append(next.byHash[key], p)
		}
	}
	return next
}

// Authenticate finds the principal of a request by its Authorization header. If
// that is empty, it takes the verified client certificate of the connection, which
// is nil if it has no TLS. Errors: [*UnauthenticatedError].
func (t *Tokens) Authenticate(authorization []byte, connection *tls.ConnectionState) (*Principal, error) {
	if len(authorization) == 0 {
		if connection == nil || len(connection.VerifiedChains) == 0 {
			return nil, &UnauthenticatedError{Missing}
		}
		name := connection.VerifiedChains[0][0].Subject.CommonName
		return checkValid(t.current.Load().byCert[name])
	}

	token, ok := bearerToken(authorization)
	if !ok {
		return nil, &UnauthenticatedError{Malformed}
	}
	return checkValid(t.current.Load().find(hashOf(token)))
}

// bearerToken returns the token in an Authorization header (RFC 6750). It reports
// false if the header has another scheme or no possible token.
func bearerToken(authorization []byte) (token []byte, ok bool) {
	scheme, token, _ := bytes.Cut(authorization, []byte(" "))
	token = bytes.TrimSpace(token)
	ok = bytes.EqualFold(scheme, []byte("Bearer")) &&
		len(token) >= minTokenLength && len(token) <= maxTokenLength && !bytes.ContainsAny(token, " \t")
	return token, ok
}

// find returns the principal whose token has that hash, or nil.
func (t *table) find(hash [hashSize]byte) (found *Principal) {
	for _, p := range t.byHash[[8]byte(hash[:8])] {
		if subtle.ConstantTimeCompare(p.hash[:], hash[:]) == 1 {
			found = p
		}
	}
	return found
}

// Renew returns p with the grants that it has now, for work that takes longer than a
// request. Errors: [*UnauthenticatedError] if its token was revoked or has expired.
func (t *Tokens) Renew(p *Principal) (*Principal, error) {
	now := t.current.Load().byName[p.name]
	if now != nil && (now.hash != p.hash || now.cert != p.cert) {
		now = nil // another token has taken the name
	}
	return checkValid(now)
}

// checkValid returns p, or an error if it is nil or has expired.
func checkValid(p *Principal) (*Principal, error) {
	switch {
	case p == nil:
		return nil, &UnauthenticatedError{Unknown}
	case !p.expires.IsZero() && !time.Now().Before(p.expires):
		return nil, &UnauthenticatedError{Expired}
	}
	return p, nil
}

// OnChange calls f in a goroutine of its own when the tokens change and when the
// token of p expires, until stop is called. A caller that waits for long then calls
// [Tokens.Renew] to learn whether it may go on.
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
