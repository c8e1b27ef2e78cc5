package sdk_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

var modernCalls = func() []apiCall {
	keyed := sdk.NewMessage{IdempotencyKey: "k"}
	produce := func(opts ...sdk.ProduceOption) func(context.Context, *sdk.Client) error {
		return func(ctx context.Context, c *sdk.Client) error {
			_, err := c.Topic("T").ProduceBatch(ctx, []sdk.NewMessage{keyed, {Data: []byte("x"), IdempotencyKey: "l"}}, opts...)
			return err
		}
	}
	one := func(m sdk.NewMessage) func(context.Context, *sdk.Client) error {
		return func(ctx context.Context, c *sdk.Client) error { _, err := c.Topic("T").Produce(ctx, m); return err }
	}
	topic := func(call func(context.Context, *sdk.Topic) error) func(context.Context, *sdk.Client) error {
		return func(ctx context.Context, c *sdk.Client) error { return call(ctx, c.Topic("T")) }
	}
	consumer := func(call func(context.Context, *sdk.Subscription) error) func(context.Context, *sdk.Client) error {
		return func(ctx context.Context, c *sdk.Client) error { return call(ctx, c.Topic("T").Subscription("C")) }
	}
	return []apiCall{
		{name: "v1 create", repeatable: true, call: topic(func(ctx context.Context, t *sdk.Topic) error {
			_, _, err := t.Create(ctx, sdk.PartialSettings{})
			return err
		})},
		{name: "v1 describe", repeatable: true, call: topic(func(ctx context.Context, t *sdk.Topic) error { _, err := t.Describe(ctx); return err })},
		{name: "v1 change", repeatable: true, call: topic(func(ctx context.Context, t *sdk.Topic) error {
			_, err := t.Change(ctx, sdk.PartialSettings{})
			return err
		})},
		{name: "v1 purge", repeatable: true, call: topic(func(ctx context.Context, t *sdk.Topic) error { _, err := t.Purge(ctx, 1); return err })},
		{name: "v1 delete", repeatable: true, call: topic(func(ctx context.Context, t *sdk.Topic) error { return t.Delete(ctx) })},
		{name: "v1 get", repeatable: true, call: topic(func(ctx context.Context, t *sdk.Topic) error { _, err := t.Get(ctx, 1); return err })},
		{name: "v1 browse", repeatable: true, call: topic(func(ctx context.Context, t *sdk.Topic) error {
			_, _, err := t.Browse(ctx, sdk.Selection{}, sdk.Limits{})
			return err
		})},
		{name: "v1 produce", repeatable: false, call: one(sdk.Text("m"))},
		{name: "v1 produce with a key", repeatable: true, call: one(keyed)},
		{name: "v1 batch with keys", repeatable: true, call: produce()},
		{name: "v1 batch with a key", repeatable: true, call: func(ctx context.Context, c *sdk.Client) error {
			_, err := c.Topic("T").ProduceBatch(ctx, texts("a", "b"), sdk.WithIdempotencyKey("k"))
			return err
		}},
		{name: "v1 atomic batch with keys", repeatable: false, call: produce(sdk.Atomically())},
		{name: "v1 atomic batch with a key", repeatable: false, call: produce(sdk.Atomically(), sdk.WithIdempotencyKey("k"))},
		{name: "v1 subscribe", repeatable: false, call: topic(func(ctx context.Context, t *sdk.Topic) error {
			_, err := t.Subscribe(ctx, sdk.ConsumerSpec{})
			return err
		})},
		{name: "v1 subscribe with a name", repeatable: true, call: topic(func(ctx context.Context, t *sdk.Topic) error {
			_, err := t.Subscribe(ctx, sdk.ConsumerSpec{Name: "C"})
			return err
		})},
		{name: "v1 fetch", repeatable: false, call: consumer(func(ctx context.Context, s *sdk.Subscription) error { _, err := s.Fetch(ctx, sdk.Limits{}); return err })},
		{name: "v1 ack", repeatable: true, call: consumer(func(ctx context.Context, s *sdk.Subscription) error { return s.Ack(ctx, "t") })},
		{name: "v1 nack", repeatable: true, call: consumer(func(ctx context.Context, s *sdk.Subscription) error { return s.Nack(ctx, time.Second, "t") })},
		{name: "v1 extend", repeatable: true, call: consumer(func(ctx context.Context, s *sdk.Subscription) error { return s.Extend(ctx, 0, "t") })},
		{name: "v1 seek", repeatable: true, call: consumer(func(ctx context.Context, s *sdk.Subscription) error { _, err := s.Seek(ctx, sdk.AtNew); return err })},
		{name: "v1 pause", repeatable: true, call: consumer(func(ctx context.Context, s *sdk.Subscription) error { _, err := s.Pause(ctx, time.Second); return err })},
		{name: "v1 resume", repeatable: true, call: consumer(func(ctx context.Context, s *sdk.Subscription) error { _, err := s.Resume(ctx); return err })},
		{name: "v1 delete consumer", repeatable: true, call: consumer(func(ctx context.Context, s *sdk.Subscription) error { return s.Delete(ctx) })},
	}
}()

// problem answers with a failure of the modern API.
func problem(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func TestCallsThatWereTurnedAwayAreMadeAgain(t *testing.T) {
	t.Parallel()
	for _, test := range calls {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address, requests := server(t, func(w http.ResponseWriter, _ *http.Request) {
				problem(w, http.StatusServiceUnavailable, `{"code":"overloaded","detail":"too much is under way"}`)
			})
			client, err := sdk.New(address, sdk.WithRetries(1))
			require.NoError(t, err)
			defer client.Close()
			err = test.call(t.Context(), client)
			require.ErrorIs(t, err, sdk.ErrOverloaded)
			assert.NotErrorIs(t, err, sdk.ErrOutcomeUnknown)
			assert.EqualValues(t, 2, requests.Load())
		})
	}
}

func TestAPauseThatTheBrokerAsksForIsKept(t *testing.T) {
	t.Parallel()
	answered := time.Time{}
	address, requests := server(t, func(w http.ResponseWriter, _ *http.Request) {
		if answered.IsZero() {
			answered = time.Now()
			w.Header().Set("Retry-After", "1")
			problem(w, http.StatusTooManyRequests, `{"code":"rate_limited","detail":"slower"}`)
			return
		}
		assert.GreaterOrEqual(t, time.Since(answered), time.Second)
		_, _ = io.WriteString(w, `{"messages":[{"sequence":1}]}`)
	})
	client, err := sdk.New(address)
	require.NoError(t, err)
	defer client.Close()
	receipt, err := client.Topic("T").Produce(t.Context(), sdk.Text("m"))
	require.NoError(t, err)
	assert.EqualValues(t, 1, receipt.Sequence)
	assert.EqualValues(t, 2, requests.Load())
}

func TestAPauseThatIsTooLongIsLeftToTheCaller(t *testing.T) {
	t.Parallel()
	address, requests := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		problem(w, http.StatusTooManyRequests, `{"code":"quota_exceeded","detail":"tomorrow"}`)
	})
	client, err := sdk.New(address)
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Topic("T").Describe(t.Context())
	require.ErrorIs(t, err, sdk.ErrQuotaExceeded)
	refused, _ := err.(*sdk.Error) //nolint:errorlint // it is not wrapped
	assert.Equal(t, time.Hour, refused.RetryAfter)
	assert.EqualValues(t, 1, requests.Load())
}

func TestADeletionThatWasNotAnsweredSucceedsWhenItIsGone(t *testing.T) {
	t.Parallel()
	var deleted atomic.Bool
	address, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		if deleted.CompareAndSwap(false, true) {
			hangUp(w, r)
			return
		}
		problem(w, http.StatusNotFound, `{"code":"topic_not_found","detail":"Topic:T does not exist"}`)
	})
	client, err := sdk.New(address)
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.Topic("T").Delete(t.Context()))
	require.ErrorIs(t, client.Topic("T").Delete(t.Context()), sdk.ErrTopicNotFound)
}

func TestProblemsAreReadAsAWhole(t *testing.T) {
	t.Parallel()
	address, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/topics/proxy":
			http.Error(w, "<h1>Bad Gateway</h1>", http.StatusBadGateway)
		default:
			problem(w, http.StatusConflict, `{"type":"x","title":"x","status":409,"detail":"d","code":"c","tokens":["t"],"last_sequence":7,"messages":[{"code":"e"}]}`)
		}
	})
	client, err := sdk.New(address, sdk.WithRetries(0))
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Topic("T").Describe(t.Context())
	assert.Equal(t, &sdk.Error{
		Status: http.StatusConflict, Code: "c", Message: "d", Tokens: []string{"t"}, LastSequence: 7, Receipts: []sdk.Receipt{{Code: "e"}},
	}, err)
	_, err = client.Topic("proxy").Describe(t.Context())
	assert.ErrorContains(t, err, "HTTP status 502: <h1>Bad Gateway</h1>")
}

func TestTokensAndCertificatesAreShown(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			problem(w, http.StatusUnauthorized, `{"code":"unauthenticated","detail":"who are you"}`)
			return
		}
		_, _ = io.WriteString(w, `{"name":"T"}`)
	}))
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	trust := sdk.WithTLSConfig(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13})
	client, err := sdk.New(s.URL, trust, sdk.WithToken("secret"))
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Topic("T").Describe(t.Context())
	require.NoError(t, err)
	stranger, err := sdk.New(s.URL, trust)
	require.NoError(t, err)
	defer stranger.Close()
	_, err = stranger.Topic("T").Describe(t.Context())
	require.ErrorIs(t, err, sdk.ErrUnauthenticated)
}

func TestReceiptsThatAreMissingAreNoSuccess(t *testing.T) {
	t.Parallel()
	address, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"messages":[{"sequence":1}]}`)
	})
	client, err := sdk.New(address)
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Topic("T").ProduceBatch(t.Context(), texts("1", "2"))
	require.ErrorIs(t, err, sdk.ErrOutcomeUnknown)
}
