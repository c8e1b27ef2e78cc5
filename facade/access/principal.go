package access

import (
	"slices"
	"time"
)

// A Principal is somebody who makes requests: the holder of a token or of a
// client certificate. It does not change; a change of the file makes others.
type Principal struct {
	name    string
	hash    [hashSize]byte
	cert    string
	grants  []Grant
	expires time.Time
	account *account
}

// Anyone is who makes every request to a broker without access control. It may
// do everything.
var Anyone = &Principal{
	name:    "anyone",
	grants:  []Grant{{Topics: everything, Scopes: scopes}},
	account: newAccount(Limits{}),
}

// everything is the pattern of all topics.
const everything = "*"

// Name is that of the entry, for logs. It is no secret.
func (p *Principal) Name() string { return p.name }

// String is the name, so that nothing else gets into a log.
func (p *Principal) String() string { return p.name }

// Allows reports whether p has the scope on topic.
func (p *Principal) Allows(scope Scope, topic string) bool {
	return p.any(func(g Grant) bool { return slices.Contains(g.Scopes, scope) && Match(g.Topics, topic) })
}

// Sees reports whether any grant names topic, with whichever scope. Lists and
// counts must be of such topics only.
func (p *Principal) Sees(topic string) bool {
	return p.any(func(g Grant) bool { return Match(g.Topics, topic) })
}

// AllowsAny reports whether p has the scope on some topics.
func (p *Principal) AllowsAny(scope Scope) bool {
	return p.any(func(g Grant) bool { return slices.Contains(g.Scopes, scope) })
}

// AllowsAll reports whether p has the scope on every topic, by a grant on "*".
// Calls that tell of the whole broker, such as its metrics, need that.
func (p *Principal) AllowsAll(scope Scope) bool {
	return p.any(func(g Grant) bool { return g.Topics == everything && slices.Contains(g.Scopes, scope) })
}

func (p *Principal) any(of func(Grant) bool) bool { return slices.ContainsFunc(p.grants, of) }

// Require returns nil if p has one of the scopes on topic, or any at all if none
// is given. Otherwise it returns a [*ForbiddenError] if p sees the topic for
// another scope, and a [*HiddenError] if it does not. Both depend on the grants
// alone: ask before looking anything up, and they tell nothing of the topic.
func (p *Principal) Require(topic string, scopes ...Scope) error {
	if !p.Sees(topic) {
		return &HiddenError{topic}
	}
	return p.RequireToCreate(topic, scopes...)
}

// RequireToCreate is Require for calls that make the topic: where there is none,
// "not found" is no answer, so it is a [*ForbiddenError] in any case.
func (p *Principal) RequireToCreate(topic string, scopes ...Scope) error {
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(s Scope) bool { return p.Allows(s, topic) }) {
		return nil
	}
	return &ForbiddenError{p.name, slices.Clone(scopes), topic}
}

// RequireAll returns a [*ForbiddenError] unless p has the scope on every topic.
func (p *Principal) RequireAll(scope Scope) error {
	if p.AllowsAll(scope) {
		return nil
	}
	return &ForbiddenError{Principal: p.name, Scopes: []Scope{scope}}
}

// Take counts a request with a body of that many bytes, or returns a
// [*RateError]: p has no request left, or no byte. A request that comes while
// one byte is left is let in whole, whatever its size, and those after it wait
// until it is paid for, so that the mean is kept and no size is impossible.
func (p *Principal) Take(bytes int) error { return p.account.take(time.Now(), bytes) }

// Charge counts bytes that were sent to p, for later requests to wait for.
func (p *Principal) Charge(bytes int) { p.account.charge(time.Now(), bytes) }

// Topics is how many topics p may see and still make one.
func (p *Principal) Topics() *Quota { return &p.account.topics }

// Consumers is how many consumers there may be on the topics that p sees for it
// to make one more.
func (p *Principal) Consumers() *Quota { return &p.account.consumers }
