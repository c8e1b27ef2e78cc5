package access

import (
	"fmt"
	"strings"
	"time"
)

// Reason says why a request has no principal.
type Reason string

// The reasons.
const (
	Missing   Reason = "missing"   // neither a token nor a client certificate came with it
	Malformed Reason = "malformed" // the Authorization header has no bearer token
	Unknown   Reason = "unknown"   // no entry of the file has this token or certificate
	Expired   Reason = "expired"   // the token or certificate, or its entry, has expired
	Untrusted Reason = "untrusted" // the authority of the certificate was removed
)

// UnauthenticatedError reports a request whose sender is not known: HTTP 401, code
// "unauthenticated". It never holds what the client sent.
type UnauthenticatedError struct{ Reason Reason }

func (e *UnauthenticatedError) Error() string {
	switch e.Reason {
	case Missing:
		return "this broker asks for a token: send the header Authorization: Bearer TOKEN"
	case Malformed:
		return fmt.Sprintf("the Authorization header is not Bearer TOKEN with a token of %d to %d characters "+
			"without spaces, as dq token new makes them", minTokenLength, maxTokenLength)
	case Expired:
		return "the token or client certificate has expired: ask for a new one"
	case Untrusted:
		return "this broker no longer trusts the authority of the client certificate: ask for a new one"
	}
	return "this broker does not know the token or client certificate: " +
		"it is misspelt, was revoked, or is another broker's"
}

// Challenge returns the value of the WWW-Authenticate header, which the answer must
// have (RFC 6750).
func (e *UnauthenticatedError) Challenge() string {
	if e.Reason == Missing {
		return `Bearer realm="dq"`
	}
	return `Bearer realm="dq", error="invalid_token"`
}

// HiddenError reports a topic that no grant of the token names. The answer must be
// that of a topic which does not exist: HTTP 404, code "topic_not_found".
type HiddenError struct{ Topic string }

func (e *HiddenError) Error() string { return fmt.Sprintf("Topic:%s does not exist", e.Topic) }

// ForbiddenError reports a call without the scope that it needs: HTTP 403, code
// "forbidden".
type ForbiddenError struct {
	Principal string
	Scopes    []Scope // one of them is needed
	Topic     string
}

func (e *ForbiddenError) Error() string {
	scopes := make([]string, len(e.Scopes))
	for i, scope := range e.Scopes {
		scopes[i] = string(scope)
	}
	return fmt.Sprintf("%s may not do this: it needs the scope %s on topic %s",
		e.Principal, strings.Join(scopes, " or "), e.Topic)
}

// RateError reports a request above a rate of its token: HTTP 429, code
// "rate_limited". The answer has RetryAfter in its Retry-After header, in whole
// seconds rounded up.
type RateError struct {
	What       string // "requests" or "bytes"
	PerSecond  float64
	RetryAfter time.Duration
}

func (e *RateError) Error() string {
	return fmt.Sprintf("the token may take %g %s a second, and has: try again in %s",
		e.PerSecond, e.What, e.RetryAfter.Round(time.Millisecond))
}

// QuotaError reports one topic or consumer more than the token may have: HTTP 429,
// code "quota_exceeded". Only a deletion helps, so Retry-After can be a minute.
type QuotaError struct {
	What  string // "topics" or "consumers"
	Limit int
	Count int // how many exist
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("the token may have %d %s on the topics of its grants, and there are %d: delete some first",
		e.Limit, e.What, e.Count)
}
