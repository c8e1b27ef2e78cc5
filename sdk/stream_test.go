package sdk_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

// breakingStreams answers with streams that break in all ways, one per request.
type breakingStreams struct {
	t    *testing.T
	next int
}

func (s *breakingStreams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/topics/T" {
		write(w, `{"last_sequence":4}`)
		return
	}
	assert.Equal(s.t, "5", r.URL.Query().Get("from"), "what is new is decided once")
	assert.Equal(s.t, "k", r.URL.Query().Get("key"))

	s.next++
	w.Header().Set("Content-Type", "text/event-stream")
	switch s.next {
	case 1: // breaks before its first message
		write(w, "retry: 1000\n\n:\n\n")
	case 2: // breaks within a message
		assert.Empty(s.t, r.Header.Get("Last-Event-ID"))
		write(w, "id: 5\ndata: {\"sequence\":5,\"data\":\"a\"}\n\nid: 6\ndata: {\"sequen")
	case 3:
		assert.Equal(s.t, "5", r.Header.Get("Last-Event-ID"))
		write(w, "event: error\ndata: {\"status\":503,\"code\":\"unavailable\",\"detail\":\"d\"}\n\n")
	case 4:
		w.Header().Del("Content-Type")
		writeProblem(w, http.StatusServiceUnavailable, `{"code":"overloaded","detail":"d"}`)
	case 5:
		assert.Equal(s.t, "5", r.Header.Get("Last-Event-ID"))
		write(w, "id: 6\ndata: {\"sequence\":6,\"data_base64\":\"/w==\"}\n\n")
	default:
		write(w, "event: error\ndata: {\"status\":404,\"code\":\"topic_not_found\",\"detail\":\"it is gone\"}\n\n")
	}
}

func TestStream_BrokenStreamGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	streams := &breakingStreams{t: t}
	address, _ := startServer(t, streams.ServeHTTP)
	topic := connectTo(t, address).Topic("T")

	var got []string
	for record, err := range topic.Stream(t.Context(), sdk.Selection{Key: "k"}) {
		if err != nil {
			require.ErrorIs(t, err, sdk.ErrTopicNotFound)
			break
		}
		got = append(got, string(record.Data))
	}

	assert.Equal(t, []string{"a", "\xff"}, got)
	assert.Equal(t, 6, streams.next)
}

func TestStream_EndsAfterItsRetries(t *testing.T) {
	t.Parallel()
	address, requests := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
	})
	consumer := connectTo(t, address, sdk.WithRetries(2)).Topic("T").Subscription("c")

	n := 0
	for _, err := range consumer.Stream(t.Context()) {
		require.ErrorIs(t, err, io.EOF)
		n++
	}

	assert.Equal(t, 1, n)
	assert.EqualValues(t, 3, requests.Load())
}

func TestStream_TopicYieldsOldAndNewMessages(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := topic.ProduceBatch(ctx, texts("0", "1"))
	require.NoError(t, err)

	n := 0
	for record, err := range topic.Stream(ctx, sdk.Selection{From: sdk.AtFirst}) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			break
		}
		assert.Equal(t, fmt.Sprint(n), string(record.Data))
		if n++; n == 100 {
			cancel()
			continue
		}
		_, err := topic.Produce(ctx, sdk.Text(fmt.Sprint(n+1)))
		require.NoError(t, err)
	}

	assert.Equal(t, 100, n)
}

func TestStream_ConsumerYieldsMessagesToAcknowledge(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	consumer := subscribe(t, 101, sdk.ConsumerSpec{Name: "l", Mode: sdk.ModeLease})

	for record, err := range consumer.Stream(ctx) {
		require.NoError(t, err)
		require.NoError(t, consumer.Ack(ctx, record.Token))
		if record.Sequence == 50 {
			break
		}
	}

	info, err := consumer.Describe(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 51, info.Size)
}

func TestStream_ConsumerThatDoesNotExistIsRefused(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})

	n := 0
	for _, err := range topic.Subscription("none").Stream(t.Context()) {
		require.ErrorIs(t, err, sdk.ErrConsumerNotFound)
		n++
	}

	assert.Equal(t, 1, n)
}
