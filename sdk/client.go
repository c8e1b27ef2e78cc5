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
	defaultRetries = 8 // with the pauses between them, about ten seconds

	// maxIdleConns is how many connections a client keeps open between calls.
	maxIdleConns = 256
)

// A Client makes calls to one broker, or to one of several behind one address.
type Client struct {
	base    string
	http    *http.Client
	token   string
	timeout time.Duration
	retries uint
}

// An Option changes how a [Client] works.
type Option func(*Client) error

// WithTimeout bounds each attempt of a call; 15 seconds by default.
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
// by default, which takes about ten seconds. 0 is never.
func WithRetries(retries uint) Option {
	return func(c *Client) error {
		c.retries = retries
		return nil
	}
}

// WithTransport makes the calls through transport. By default a client has a
// transport of its own.
func WithTransport(transport http.RoundTripper) Option {
	return func(c *Client) error {
		c.http.Transport = transport
		return nil
	}
}

// WithTLSConfig sets how a client connects to a broker at an https URL. It works
// on the transport that the client has by then, and takes no effect on one that
// is not an [*http.Transport].
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

// WithToken makes the client show that token to the broker.
func WithToken(token string) Option {
	return func(c *Client) error {
		c.token = token
		return nil
	}
}

// New returns a client of the broker at "HOST:PORT" or at an http or https URL.
// It makes no call yet.
func New(broker string, opts ...Option) (*Client, error) {
	base := broker
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("broker %q: want HOST:PORT or an http URL", broker)
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

// Ping succeeds if a broker answers.
func (c *Client) Ping(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodGet, path: "/livez", repeatable: true})
}

// Ready succeeds if the broker can do its work.
func (c *Client) Ready(ctx context.Context) error {
	return c.do(ctx, call{method: http.MethodGet, path: "/readyz", repeatable: true})
}
