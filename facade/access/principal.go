package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Principal makes requests: it holds a token or a client certificate. A principal
// never changes; when the file of tokens changes, new ones take its place.
type Principal struct {
	name    string
	hash    [hashSize]byte
	cert    string
	grants  []Grant
	expires time.Time
	account *account
}

// Anyone makes every request to a broker without access control. It may do
// everything.
var Anyone = &Principal{
	name:    "anyone",
	grants:  []Grant{{Topics: "*", Scopes: scopes}},
	account: newAccount(Limits{}),
}

// Name returns the name of the principal's entry, for logs. The name is not secret.
func (p *Principal) Name() string { return p.name }

// String returns the name, so that nothing else gets into a log.
func (p *Principal) String() string { return p.name }

// Allows reports whether p has the scope on topic.
func (p *Principal) Allows(scope Scope, topic string) bool {
	return p.hasGrant(func(g Grant) bool { return slices.Contains(g.Scopes, scope) && Match(g.Topics, topic) })
}

// Sees reports whether a grant names topic, with any scope. Lists and counts must
// leave out all other topics.
func (p *Principal) Sees(topic string) bool {
	return p.hasGrant(func(g Grant) bool { return Match(g.Topics, topic) })
}

func (p *Principal) hasGrant(matches func(Grant) bool) bool {
	return slices.ContainsFunc(p.grants, matches)
}

// Match reports whether pattern names topic. A "*" stands for any number of any
// characters; every other character stands for itself. Escaping is not possible: a topic
// with a "*" in its name can only be named by a pattern that names others as well.
func Match(pattern, topic string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == topic
	}

	topic, ok := strings.CutPrefix(topic, head)
	for ok {
		var part string
		if part, rest, wild = strings.Cut(rest, "*"); !wild {
			return strings.HasSuffix(topic, part)
		}
		// The first occurrence is as good as any other: the "*" after it takes the rest.
		_, topic, ok = strings.Cut(topic, part)
	}
	return false
}

// Require checks that p has one of the scopes on topic, or any scope if none is
// given. Errors: [*HiddenError] if p does not see the topic, [*ForbiddenError] if it
// sees it with other scopes only. Both depend on the grants alone. Call Require
// before looking anything up, so that its answer reveals nothing about the topic.
func (p *Principal) Require(topic string, scopes ...Scope) error {
	if !p.Sees(topic) {
		return &HiddenError{topic}
	}
	return p.RequireToCreate(topic, scopes...)
}

// RequireToCreate checks the same for calls that create the topic. Errors:
// [*ForbiddenError] in every case, because such a call cannot answer "not found".
func (p *Principal) RequireToCreate(topic string, scopes ...Scope) error {
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(s Scope) bool { return p.Allows(s, topic) }) {
		return nil
	}
	return &ForbiddenError{p.name, slices.Clone(scopes), topic}
}

// Take counts a request. Errors: [*RateError] if p has no request or no byte left.
func (p *Principal) Take() error { return p.account.take(time.Now()) }

// Charge counts bytes that p has sent or got. More than p has left are a debt: later
// requests are refused until the rate has made up for it. So the mean rate holds, and
// no size is impossible.
func (p *Principal) Charge(bytes int) { p.account.charge(time.Now(), bytes) }

// Reserve returns how many of most bytes an answer to p may have: what is left of the
// limit and not reserved for other answers, but at least one. So calls in parallel get
// no more together than one after the other. Charge what was sent, then call Release
// with the number that Reserve returned.
func (p *Principal) Reserve(most int) int { return p.account.reserve(time.Now(), most) }

// Release ends a reservation of so many bytes.
func (p *Principal) Release(bytes int) { p.account.release(bytes) }

// WaitForBytes waits until p has a byte left. It returns false if ctx ends before.
func (p *Principal) WaitForBytes(ctx context.Context) bool {
	for {
		wait := p.account.untilByte(time.Now())
		if wait <= 0 {
			return true
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false
		}
	}
}

// Topics returns the quota of topics that p may create.
func (p *Principal) Topics() *Quota { return &p.account.topics }

// Consumers returns the quota of consumers that p may register.
func (p *Principal) Consumers() *Quota { return &p.account.consumers }

// Rights identifies what p may do under which name: it is the same for two
// principals exactly if they have the same name and the same grants.
func (p *Principal) Rights() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", p.name, p.grants))
	return hex.EncodeToString(sum[:16])
}
