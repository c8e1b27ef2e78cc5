package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/sdk"
)

// server is an HTTP server that stands for a broker which misbehaves. It counts
// the requests that reach it.
func server(t *testing.T, handle http.HandlerFunc) (address string, requests *atomic.Int32) {
	t.Helper()
	requests = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handle(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// hangUp breaks the connection after the request was read.
func hangUp(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// apiCall is a call of a client, and whether it may be repeated after it may
// have taken effect.
type apiCall struct {
	name       string
	repeatable bool
	call       func(context.Context, *sdk.Client) error
}

var calls = slices.Concat(classicCalls, modernCalls)

var classicCalls = []apiCall{
	{name: "CreateTopic", repeatable: false, call: func(ctx context.Context, c *sdk.Client) error { return c.CreateTopic(ctx, "T") }},
	{name: "Topics", repeatable: true, call: func(ctx context.Context, c *sdk.Client) error { _, err := c.Topics(ctx); return err }},
	{name: "RegisterProducer", repeatable: false, call: func(ctx context.Context, c *sdk.Client) error { _, err := c.RegisterProducer(ctx, "T"); return err }},
	{name: "RegisterConsumer", repeatable: false, call: func(ctx context.Context, c *sdk.Client) error { _, err := c.RegisterConsumer(ctx, "T"); return err }},
	{name: "Produce", repeatable: false, call: func(ctx context.Context, c *sdk.Client) error { return c.Produce(ctx, "T", 0, "m") }},
	{name: "Consume", repeatable: false, call: func(ctx context.Context, c *sdk.Client) error { _, err := c.Consume(ctx, "T", 0); return err }},
	{name: "Size", repeatable: true, call: func(ctx context.Context, c *sdk.Client) error { _, err := c.Size(ctx, "T", 0); return err }},
}

func TestOnlySafeCallsAreRepeatedWhenTheConnectionBreaks(t *testing.T) {
	t.Parallel()
	for _, test := range calls {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// The second request of a connection breaks it: net/http itself would
			// repeat a GET on a connection that it had used before.
			var first atomic.Bool
			address, requests := server(t, func(w http.ResponseWriter, r *http.Request) {
				if first.CompareAndSwap(false, true) {
					_, _ = io.WriteString(w, `{"status":"success"}`)
					return
				}
				hangUp(w, r)
			})
			client, err := sdk.New(address, sdk.WithRetries(1))
			require.NoError(t, err)
			defer client.Close()
			require.NoError(t, client.Ping(t.Context()))
			requests.Store(0)
			err = test.call(t.Context(), client)
			require.Error(t, err)
			if test.repeatable {
				assert.GreaterOrEqual(t, requests.Load(), int32(2))
				assert.NotErrorIs(t, err, sdk.ErrOutcomeUnknown)
			} else {
				assert.EqualValues(t, 1, requests.Load())
				assert.ErrorIs(t, err, sdk.ErrOutcomeUnknown)
			}
		})
	}
}

func TestOnlySafeCallsAreRepeatedWhenTheBrokerFails(t *testing.T) {
	t.Parallel()
	for _, test := range calls {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address, requests := server(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusInternalServerError)
				_, _ = io.WriteString(w, `{"status":"failure","code":"unavailable","message":"no space left"}`)
			})
			client, err := sdk.New(address, sdk.WithRetries(2))
			require.NoError(t, err)
			defer client.Close()
			err = test.call(t.Context(), client)
			require.ErrorIs(t, err, sdk.ErrUnavailable)
			assert.ErrorContains(t, err, "no space left")
			if test.repeatable {
				assert.EqualValues(t, 3, requests.Load())
			} else {
				assert.EqualValues(t, 1, requests.Load())
				assert.ErrorIs(t, err, sdk.ErrOutcomeUnknown)
			}
		})
	}
}

func TestEveryCallWaitsForABrokerThatIsNotUpYet(t *testing.T) {
	t.Parallel()
	for _, test := range calls {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var dials atomic.Int32
			transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1) == 1 {
					return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			}}
			address, requests := server(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusConflict)
				_, _ = io.WriteString(w, `{"status":"failure","code":"topic_exists","message":"m"}`)
			})
			client, err := sdk.New(address, sdk.WithTransport(transport))
			require.NoError(t, err)
			defer client.Close()
			require.ErrorIs(t, test.call(t.Context(), client), sdk.ErrTopicExists)
			assert.EqualValues(t, 1, requests.Load())
		})
	}
}

func TestRefusalsCanBeTold(t *testing.T) {
	t.Parallel()
	client, err := sdk.New(brokertest.Start(t, brokertest.Config("")).URL())
	require.NoError(t, err)
	defer client.Close()
	ctx := t.Context()
	require.NoError(t, client.CreateTopic(ctx, "T1"))
	require.NoError(t, client.CreateTopic(ctx, "T2"))
	producer, err := client.RegisterProducer(ctx, "T1")
	require.NoError(t, err)
	consumer, err := client.RegisterConsumer(ctx, "T1")
	require.NoError(t, err)
	consume := func(topic string, id int64) error { _, err := client.Consume(ctx, topic, id); return err }
	for want, got := range map[*sdk.Error]error{
		sdk.ErrTopicExists:           client.CreateTopic(ctx, "T1"),
		sdk.ErrInvalidTopicName:      client.CreateTopic(ctx, "publ"),
		sdk.ErrTopicNotFound:         client.Produce(ctx, "T3", producer, ""),
		sdk.ErrProducerNotFound:      client.Produce(ctx, "T1", 99, ""),
		sdk.ErrProducerNotRegistered: client.Produce(ctx, "T2", producer, ""),
		sdk.ErrMessageTooLarge:       client.Produce(ctx, "T1", producer, strings.Repeat("x", 1<<20+1)),
		sdk.ErrConsumerNotFound:      consume("T1", 99),
		sdk.ErrConsumerNotRegistered: consume("T2", consumer),
		sdk.ErrEmpty:                 consume("T1", consumer),
	} {
		assert.ErrorIs(t, got, want)
		var refused *sdk.Error
		require.ErrorAs(t, got, &refused)
		assert.Equal(t, http.StatusBadRequest, refused.Status)
		assert.NotEmpty(t, refused.Message)
	}
	assert.ErrorIs(t, client.Produce(ctx, "T1", producer, "\xff"), sdk.ErrInvalidText)
	assert.ErrorIs(t, consume("\xff", consumer), sdk.ErrInvalidText)
}

func TestABrokerWithoutCodesIsUnderstood(t *testing.T) {
	t.Parallel()
	address, _ := server(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"status":"failure","message":"Empty logs for Comsumer:0 for Topic:T"}`)
	})
	client, err := sdk.New(address)
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Consume(t.Context(), "T", 0)
	assert.ErrorIs(t, err, sdk.ErrEmpty)
}

func TestContextsEndCalls(t *testing.T) {
	t.Parallel()
	for _, test := range calls {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			arrived := make(chan struct{}, 1)
			release := make(chan struct{})
			address, _ := server(t, func(http.ResponseWriter, *http.Request) {
				arrived <- struct{}{}
				<-release
			})
			t.Cleanup(func() { close(release) })
			client, err := sdk.New(address)
			require.NoError(t, err)
			defer client.Close()
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-arrived
				cancel()
			}()
			err = test.call(ctx, client)
			require.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, !test.repeatable, errors.Is(err, sdk.ErrOutcomeUnknown))
		})
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	var dials atomic.Int32
	transport := http.DefaultTransport.(*http.Transport).Clone()
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, address)
	}
	client, err := sdk.New(brokertest.Start(t, brokertest.Config("")).URL(), sdk.WithTransport(transport))
	require.NoError(t, err)
	defer client.Close()
	producer, err := client.RegisterProducer(t.Context(), "T")
	require.NoError(t, err)
	consumer, err := client.RegisterConsumer(t.Context(), "T")
	require.NoError(t, err)
	for i := range 20 {
		require.NoError(t, client.Produce(t.Context(), "T", producer, fmt.Sprint(i)))
		_, err := client.Consume(t.Context(), "T", consumer)
		require.NoError(t, err)
		_, err = client.Consume(t.Context(), "T", consumer)
		require.ErrorIs(t, err, sdk.ErrEmpty)
	}
	assert.EqualValues(t, 1, dials.Load())
}

func TestAConsumerStopsWhereItIsTold(t *testing.T) {
	t.Parallel()
	client, err := sdk.New(brokertest.Start(t, brokertest.Config("")).URL())
	require.NoError(t, err)
	defer client.Close()
	ctx := t.Context()
	producer, err := sdk.NewProducer(ctx, client, "T", "T")
	require.NoError(t, err)
	consumer, err := sdk.NewConsumer(ctx, client, []string{"T"}, sdk.WithIdleTimeout(0))
	require.NoError(t, err)
	for i := range 3 {
		require.NoError(t, producer.Send(ctx, "T", fmt.Sprint(i)))
	}
	for message, err := range consumer.Messages(ctx) { // a break loses nothing
		require.NoError(t, err)
		assert.Equal(t, sdk.Message{Topic: "T", Text: "0"}, message)
		break
	}
	var got []string
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for message, err := range consumer.Messages(limited) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			break
		}
		if got = append(got, message.Text); len(got) == 2 {
			cancel()
		}
	}
	assert.Equal(t, []string{"1", "2"}, got)

	require.NoError(t, consumer.Close())
	for _, err := range consumer.Messages(ctx) {
		require.ErrorIs(t, err, sdk.ErrClosed)
	}
	require.ErrorIs(t, producer.Send(ctx, "other", ""), sdk.ErrProducerNotRegistered)
	require.NoError(t, producer.Close())
	require.ErrorIs(t, producer.Send(ctx, "T", ""), sdk.ErrClosed)
	_, err = sdk.NewConsumer(ctx, client, []string{"T", "none"})
	require.ErrorIs(t, err, sdk.ErrTopicNotFound)
}

func TestAWrongAddressIsRefused(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "ftp://x", "http://", "a b"} {
		_, err := sdk.New(address)
		assert.Error(t, err, address)
	}
	_, err := sdk.New("127.0.0.1:1", sdk.WithTimeout(0))
	assert.Error(t, err)
}
