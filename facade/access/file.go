package access

import (
	"fmt"
	"strings"
	"time"
)

// Scope is what a token may do with a topic. None implies another.
type Scope string

const (
	Produce Scope = "produce" // store messages
	Consume Scope = "consume" // read messages, and have consumers
	Admin   Scope = "admin"   // create, change, purge and delete the topic, and manage its consumers
)

var scopes = []Scope{Produce, Consume, Admin}

// File is a file of tokens:
//
//	{
//	  "tokens": [
//	    {
//	      "name": "billing",
//	      "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
//	      "grants": [{"topics": "orders-*", "scopes": ["produce", "consume"]}],
//	      "limits": {"requests_per_second": 100, "max_consumers": 10},
//	      "expires": "2027-01-01T00:00:00Z"
//	    }
//	  ]
//	}
type File struct {
	Tokens []Entry `json:"tokens"`
}

// Entry is a token, a client certificate, or both, with what they may do.
type Entry struct {
	// Name says in logs and errors whose token it is. No two entries share one.
	Name string `json:"name"`
	// SHA256 is the hash of the token, in hexadecimal.
	SHA256 string `json:"sha256,omitzero"`
	// Cert is the common name of a client certificate, for mTLS.
	Cert   string  `json:"cert,omitzero"`
	Grants []Grant `json:"grants"`
	Limits Limits  `json:"limits,omitzero"`
	// Expires is when the entry ends; zero is never.
	Expires time.Time `json:"expires,omitzero"`
}

// Grant gives scopes on the topics whose names match a pattern; see [Match].
type Grant struct {
	Topics string  `json:"topics"`
	Scopes []Scope `json:"scopes"`
}

func (g Grant) String() string {
	words := make([]string, len(g.Scopes))
	for i, scope := range g.Scopes {
		words[i] = string(scope)
	}
	return g.Topics + "=" + strings.Join(words, ",")
}

// ParseGrant reads a grant such as "orders-*=produce,consume", as
// [Grant.String] writes it.
func ParseGrant(text string) (Grant, error) {
	cut := strings.LastIndexByte(text, '=')
	if cut < 0 {
		return Grant{}, fmt.Errorf("%q is no grant: want PATTERN=SCOPE,... such as 'orders-*=produce,consume'", text)
	}
	g := Grant{Topics: text[:cut]}
	for word := range strings.SplitSeq(text[cut+1:], ",") {
		g.Scopes = append(g.Scopes, Scope(word))
	}
	if _, problem := g.check(); problem != "" {
		return Grant{}, fmt.Errorf("%q is no grant: %s", text, problem)
	}
	return g, nil
}

// Limits are how much a token may take; nil is no limit. Each broker counts
// requests and bytes for itself; topics and consumers are those of the cluster.
type Limits struct {
	RequestsPerSecond *float64 `json:"requests_per_second,omitzero"`
	BytesPerSecond    *float64 `json:"bytes_per_second,omitzero"`
	// MaxTopics is how many topics may match the grants for the token to make one
	// more, whoever made them; MaxConsumers is the same for the consumers of those
	// topics. So nothing has to be kept about who made what.
	MaxTopics    *int `json:"max_topics,omitzero"`
	MaxConsumers *int `json:"max_consumers,omitzero"`
}
