package sdk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

func TestAnAsyncProducerStoresAllInOrder(t *testing.T) {
	t.Parallel()
	const messages = 2000
	topic := newTopic(t, sdk.PartialSettings{})
	var reports []sdk.AsyncResult // Close is behind the last of them
	p := sdk.NewAsyncProducer(topic, sdk.WithBatch(70, 1<<20), sdk.WithBuffer(200, 1<<20), sdk.WithReport(func(d sdk.AsyncResult) {
		reports = append(reports, d)
	}))
	for i := range messages {
		require.NoError(t, p.Send(t.Context(), sdk.Text(fmt.Sprint(i))))
		if i == messages/2 {
			require.NoError(t, p.Flush(t.Context()))
			info, err := topic.Describe(t.Context())
			require.NoError(t, err)
			assert.EqualValues(t, i+1, info.Messages)
		}
	}
	require.NoError(t, p.Close(t.Context()))
	require.NoError(t, p.Close(t.Context()))
	require.ErrorIs(t, p.Send(t.Context(), sdk.Text("")), sdk.ErrClosed)
	require.ErrorIs(t, p.Flush(t.Context()), sdk.ErrClosed)
	require.Len(t, reports, messages)
	for i, d := range reports {
		require.NoError(t, d.Err)
		assert.EqualValues(t, i+1, d.Receipt.Sequence)
		assert.Equal(t, fmt.Sprint(i), string(d.Message.Data))
	}
}

func TestOneRefusedMessageDoesNotTakeOthersWithIt(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})
	var reports []sdk.AsyncResult
	p := sdk.NewAsyncProducer(topic, sdk.WithBatch(100, 64<<20), sdk.WithReport(func(d sdk.AsyncResult) { reports = append(reports, d) }))
	for i := range 20 {
		m := sdk.Text(fmt.Sprint(i))
		switch i {
		case 7:
			m.Headers = map[string]string{"Nats-Msg-Id": "x"}
		case 8:
			m.Key = "\xff"
		case 12:
			m.Data = make([]byte, 1<<20+1)
		}
		require.NoError(t, p.Send(t.Context(), m))
	}
	require.ErrorContains(t, p.Close(t.Context()), "3 messages were not stored")
	for i, d := range reports {
		switch i {
		case 7:
			require.ErrorIs(t, d.Err, sdk.ErrInvalidField)
		case 8:
			require.ErrorIs(t, d.Err, sdk.ErrInvalidText)
		case 12:
			require.ErrorIs(t, d.Err, sdk.ErrMessageTooLarge)
		default:
			require.NoError(t, d.Err)
		}
	}
	info, err := topic.Describe(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 17, info.Messages)
}

func TestABatchThatWasNotAnsweredIsStoredOnce(t *testing.T) {
	t.Parallel()
	stored := make(map[string]int) // by idempotency key
	var requests int
	address, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var in []struct {
			IdempotencyKey string `json:"idempotency_key"`
		}
		if !assert.NoError(t, json.Unmarshal(body, &in)) {
			return
		}
		var receipts []string
		for _, m := range in {
			_, duplicate := stored[m.IdempotencyKey]
			if !duplicate {
				stored[m.IdempotencyKey] = len(stored) + 1
			}
			receipts = append(receipts, fmt.Sprintf(`{"sequence":%d,"duplicate":%t}`, stored[m.IdempotencyKey], duplicate))
		}
		if requests++; requests == 1 {
			hangUp(w, r)
			return
		}
		fmt.Fprintf(w, `{"messages":[%s]}`, strings.Join(receipts, ","))
	})
	client, err := sdk.New(address)
	require.NoError(t, err)
	defer client.Close()
	var sequences []uint64
	p := sdk.NewAsyncProducer(client.Topic("T"), sdk.WithReport(func(d sdk.AsyncResult) {
		assert.NoError(t, d.Err)
		assert.False(t, d.Receipt.Duplicate)
		sequences = append(sequences, d.Receipt.Sequence)
	}))
	for i := range 3 {
		require.NoError(t, p.Send(t.Context(), sdk.Text(fmt.Sprint(i))))
	}
	require.NoError(t, p.Close(t.Context()))
	assert.Equal(t, []uint64{1, 2, 3}, sequences)
}

func TestAFullBufferBlocksAndClosingGivesUp(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	address, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		once.Do(func() { close(arrived) })
		select {
		case <-release:
		case <-r.Context().Done():
		}
		problem(w, http.StatusConflict, `{"code":"x","detail":"d"}`)
	})
	t.Cleanup(func() { close(release) })
	client, err := sdk.New(address)
	require.NoError(t, err)
	defer client.Close()
	for name, opts := range map[string][]sdk.AsyncOption{
		"messages": {sdk.WithBatch(1, 1<<20), sdk.WithBuffer(2, 1<<20)},
		"bytes":    {sdk.WithBatch(1, 1<<20), sdk.WithBuffer(100, 2000)},
	} {
		var failed []error
		p := sdk.NewAsyncProducer(client.Topic("T"), append(opts, sdk.WithReport(func(d sdk.AsyncResult) { failed = append(failed, d.Err) }))...)
		for range 2 {
			require.NoError(t, p.Send(t.Context(), sdk.NewMessage{Data: make([]byte, 700)}))
		}
		<-arrived // the first is under way: nothing is reported
		cancelled, cancel := context.WithCancelCause(t.Context())
		cancel(io.ErrUnexpectedEOF)
		require.ErrorIs(t, p.Send(cancelled, sdk.NewMessage{Data: make([]byte, 700)}), io.ErrUnexpectedEOF, name)
		require.ErrorIs(t, p.Flush(cancelled), io.ErrUnexpectedEOF)
		require.ErrorIs(t, p.Close(cancelled), io.ErrUnexpectedEOF)
		require.Len(t, failed, 2)
		for _, err := range failed {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}
	}
}

func TestLingerSendsWhatThereIs(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})
	for _, linger := range []time.Duration{0, time.Millisecond} {
		reported := make(chan sdk.AsyncResult, 1)
		p := sdk.NewAsyncProducer(topic, sdk.WithLinger(linger), sdk.WithReport(func(d sdk.AsyncResult) { reported <- d }))
		require.NoError(t, p.Send(t.Context(), sdk.Text("m")))
		require.NoError(t, (<-reported).Err)
		require.NoError(t, p.Close(t.Context()))
	}
}
