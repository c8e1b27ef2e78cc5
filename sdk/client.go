package sdk

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	defaultTimeout = 15 * time.Second

	// The pauses before so many retries add up to 1.2 to 3.7 seconds: 50ms, then
	// half as long again each time, each of them plus or minus half.
	defaultRetries = 8

	// maxIdleConns is how many connections a client keeps open between calls: one
	// for each goroutine of a busy program. net/http alone keeps two.
	maxIdleConns = 256
)

// A Client makes calls to one broker, or to a cluster of brokers at one address.
// It is safe for concurrent use.
type Client struct {
	base    string
	http    *http.Client
	token   string
	timeout time.Duration
	retries uint
}

// An Option changes how a [Client] works.
type Option func(*Client) error

// WithTimeout bounds each attempt of a call; 15 seconds by default. A call that
// waits for messages gets the time that it may wait on top. New fails if timeout
// is not more than zero.
func WithTimeout(timeout time.Duration) Option {
	return func(c *Client) error {
		if timeout <= 0 {
			return fmt.Errorf("timeout %s: want more than zero", timeout)
		}
		c.timeout = timeout
		return nil
	}
}

// WithRetries sets how often a call is repeated at most, where that is safe; 8
// by default, with pauses of about 2.5 seconds in all. 0 means never.
func WithRetries(retries uint) Option {
	return func(c *Client) error {
		c.retries = retries
		return nil
	}
}

// WithTransport makes the calls through transport. By default a client has an
// [*http.Transport] of its own, which keeps up to 256 idle connections.
func WithTransport(transport http.RoundTripper) Option {
	return func(c *Client) error {
		c.http.Transport = transport
		return nil
	}
}

// WithTLSConfig sets how a client connects to a broker at an https URL. Give it
// after [WithTransport]: it changes a copy of the transport that the client has
// at that point, and has no effect on one that is not an [*http.Transport].
func WithTLSConfig(config *tls.Config) Option {
	return func(c *Client) error {
		if transport, ok := c.http.Transport.(*http.Transport); ok {
			transport = transport.Clone()
			transport.TLSClientConfig = config
			c.http.Transport = transport
		}
		return nil
	}
}

// WithToken sends the access token with every call, in the header Authorization.
func WithToken(token string) Option {
	return func(c *Client) error {
		c.token = token
		return nil
	}
}

// New returns a client of the broker at "HOST:PORT" or at an http or https URL.
// It makes no call yet. It fails if the address has another form, or if an option
// has a value that is not valid.
func New(broker string, opts ...Option) (*Client, error) {
	base := broker
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}

	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("broker %q: want HOST:PORT, or an http or https URL", broker)
	}

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = maxIdleConns, maxIdleConns
	c := &Client{
		base: strings.TrimSuffix(u.String(), "/"),
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout: defaultTimeout,
		retries: defaultRetries,
	}

	for _, opt := range opts {
		if err := opt(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Close closes the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ping reports whether a broker answers: it returns nil if so. It fails with
// [ErrUnreachable] if there is none at the address.
func (c *Client) Ping(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodGet, path: "/livez", repeatable: true})
}

// Ready reports whether the broker can do its work: it returns nil if so, even
// while its disk is full (see [Client.Readiness]). It fails with [ErrUnavailable]
// if the broker cannot, and as [Client.Ping] does.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.Readiness(ctx)
	return err
}

// Readiness is what a broker that is ready says of itself.
type Readiness struct {
	// AcceptsData is false while the disk is full: the broker reads, acknowledges,
	// purges and deletes, and refuses new data with [ErrStorageFull].
	AcceptsData bool `json:"accepts_data"`
	// Message says why it accepts no data.
	Message string `json:"message,omitzero"`
	// DamagedTopics is how many topics are not served, with [ErrTopicDamaged], because
	// their files are damaged.
	DamagedTopics int `json:"damaged_topics,omitzero"`
	// Damaged describes them, if the broker has no tokens.
	Damaged []DamagedTopic `json:"damaged,omitempty"`
}

// A DamagedTopic is a topic that is not served, with what is wrong with its files.
type DamagedTopic struct {
	Topic string       `json:"topic"`
	Files []FileDamage `json:"files"`
}

// A FileDamage says what is wrong with a file, and which messages are lost.
type FileDamage struct {
	File     string `json:"file"` // below the broker's data directory
	Problem  string `json:"problem"`
	At       int    `json:"at,omitzero"`             // the first damaged byte
	First    uint64 `json:"first_sequence,omitzero"` // the messages that are lost, at most
	Last     uint64 `json:"last_sequence,omitzero"`
	Messages uint64 `json:"messages,omitzero"`
}

// Readiness returns whether a broker that is ready takes new data. It fails as
// [Client.Ready] does.
func (c *Client) Readiness(ctx context.Context) (r Readiness, err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: "/readyz", answer: &r, repeatable: true})
	return r, err
}
