package sdk_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

func TestAStreamThatBreaksGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	var streams atomic.Int32
	address, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/topics/T" {
			_, _ = io.WriteString(w, `{"last_sequence":4}`)
			return
		}
		assert.Equal(t, "5", r.URL.Query().Get("from"), "what is new is decided once")
		assert.Equal(t, "k", r.URL.Query().Get("key"))
		n := streams.Add(1)
		w.Header().Set("Content-Type", "text/event-stream")
		switch n {
		case 1: // breaks before there was anything
			_, _ = io.WriteString(w, "retry: 1000\n\n:\n\n")
		case 2:
			assert.Empty(t, r.Header.Get("Last-Event-ID"))
			_, _ = io.WriteString(w, "id: 5\ndata: {\"sequence\":5,\"data\":\"a\"}\n\nid: 6\ndata: {\"sequen") // an event that is cut off
		case 3:
			assert.Equal(t, "5", r.Header.Get("Last-Event-ID"))
			_, _ = io.WriteString(w, "event: error\ndata: {\"status\":503,\"code\":\"unavailable\",\"detail\":\"d\"}\n\n")
		case 4:
			w.Header().Del("Content-Type")
			problem(w, http.StatusServiceUnavailable, `{"code":"overloaded","detail":"d"}`)
		case 5:
			assert.Equal(t, "5", r.Header.Get("Last-Event-ID"))
			_, _ = io.WriteString(w, "id: 6\ndata: {\"sequence\":6,\"data_base64\":\"/w==\"}\n\n")
		default:
			_, _ = io.WriteString(w, "event: error\ndata: {\"status\":404,\"code\":\"topic_not_found\",\"detail\":\"it is gone\"}\n\n")
		}
	})
	client, err := sdk.New(address)
	require.NoError(t, err)
	defer client.Close()
	var got []string
	for record, err := range client.Topic("T").Stream(t.Context(), sdk.Selection{Key: "k"}) {
		if err != nil {
			require.ErrorIs(t, err, sdk.ErrTopicNotFound)
			break
		}
		got = append(got, string(record.Data))
	}
	assert.Equal(t, []string{"a", "\xff"}, got)
	assert.EqualValues(t, 6, streams.Load())
}

func TestAStreamGivesUpAfterItsTries(t *testing.T) {
	t.Parallel()
	address, requests := server(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/event-stream") })
	client, err := sdk.New(address, sdk.WithRetries(2))
	require.NoError(t, err)
	defer client.Close()
	n := 0
	for _, err := range client.Topic("T").Subscription("c").Stream(t.Context()) {
		require.ErrorIs(t, err, io.EOF)
		n++
	}
	assert.Equal(t, 1, n)
	assert.EqualValues(t, 3, requests.Load())
}

func TestStreamsFollowATopicAndItsConsumers(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lease, err := topic.Subscribe(ctx, sdk.ConsumerSpec{Name: "l", Mode: sdk.ModeLease})
	require.NoError(t, err)
	_, err = topic.ProduceBatch(ctx, texts("0", "1"))
	require.NoError(t, err)
	n := 0
	for record, err := range topic.Stream(ctx, sdk.Selection{From: sdk.AtFirst}) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			break
		}
		assert.Equal(t, fmt.Sprint(n), string(record.Data))
		if n++; n < 100 {
			_, err := topic.Produce(ctx, sdk.Text(fmt.Sprint(n+1)))
			require.NoError(t, err)
		} else {
			cancel()
		}
	}
	assert.Equal(t, 100, n)

	ctx = t.Context()
	for record, err := range lease.Stream(ctx) {
		require.NoError(t, err)
		require.NoError(t, lease.Ack(ctx, record.Token))
		if record.Sequence == 50 {
			break
		}
	}
	info, err := lease.Describe(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 51, info.Size)
	for _, err := range topic.Subscription("none").Stream(ctx) {
		require.ErrorIs(t, err, sdk.ErrConsumerNotFound)
	}
}
