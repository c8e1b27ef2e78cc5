package sdk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

// results gathers the results of an AsyncProducer. They are complete after Close.
type results []sdk.AsyncResult

func (r *results) report() sdk.AsyncOption {
	return sdk.WithReport(func(result sdk.AsyncResult) { *r = append(*r, result) })
}

func TestAsyncProducer_StoresAllInOrder(t *testing.T) {
	t.Parallel()
	const messages = 2000
	topic := newTopic(t, sdk.PartialSettings{})
	var got results
	p := sdk.NewAsyncProducer(topic, sdk.WithBatch(70, 1<<20), sdk.WithBuffer(200, 1<<20), got.report())

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

	require.Len(t, got, messages)
	for i, result := range got {
		require.NoError(t, result.Err)
		assert.EqualValues(t, i+1, result.Receipt.Sequence)
		assert.Equal(t, fmt.Sprint(i), string(result.Message.Data))
	}
}

func TestAsyncProducer_UseAfterCloseIsRefused(t *testing.T) {
	t.Parallel()
	p := sdk.NewAsyncProducer(newTopic(t, sdk.PartialSettings{}))

	require.NoError(t, p.Close(t.Context()))

	require.NoError(t, p.Close(t.Context()))
	require.ErrorIs(t, p.Send(t.Context(), sdk.Text("")), sdk.ErrClosed)
	require.ErrorIs(t, p.Flush(t.Context()), sdk.ErrClosed)
}

func TestAsyncProducer_RefusedMessageDoesNotAffectOthers(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})
	var got results
	p := sdk.NewAsyncProducer(topic, sdk.WithBatch(100, 64<<20), got.report())
	bad := map[int]sdk.NewMessage{
		7:  {Headers: map[string]string{"Nats-Msg-Id": "x"}},
		8:  {Key: "\xff"},
		12: {Data: make([]byte, 1<<20+1)},
	}
	want := map[int]error{7: sdk.ErrInvalidField, 8: sdk.ErrInvalidText, 12: sdk.ErrMessageTooLarge}

	for i := range 20 {
		m, isBad := bad[i]
		if !isBad {
			m = sdk.Text(fmt.Sprint(i))
		}
		require.NoError(t, p.Send(t.Context(), m))
	}
	err := p.Close(t.Context())

	require.ErrorContains(t, err, "3 messages were not stored")
	require.Len(t, got, 20)
	for i, result := range got {
		require.ErrorIs(t, result.Err, want[i])
	}
	info, err := topic.Describe(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 17, info.Messages)
}

// dedupServer stores messages once by idempotency key. It hangs up after the first
// batch instead of answering.
type dedupServer struct {
	t        *testing.T
	stored   map[string]uint64 // sequences by idempotency key
	requests int
}

func (s *dedupServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in []struct {
		IdempotencyKey string `json:"idempotency_key"`
	}
	if !assert.NoError(s.t, json.NewDecoder(r.Body).Decode(&in)) {
		return
	}
	var out struct {
		Messages []sdk.Receipt `json:"messages"`
	}
	for _, m := range in {
		sequence, duplicate := s.stored[m.IdempotencyKey]
		if !duplicate {
			sequence = uint64(len(s.stored)) + 1
			s.stored[m.IdempotencyKey] = sequence
		}
		out.Messages = append(out.Messages, sdk.Receipt{Sequence: sequence, Duplicate: duplicate})
	}

	if s.requests++; s.requests == 1 {
		hangUp(w, r)
		return
	}
	assert.NoError(s.t, json.NewEncoder(w).Encode(out))
}

func TestAsyncProducer_BatchWhoseAnswerWasLostIsStoredOnce(t *testing.T) {
	t.Parallel()
	address, _ := startServer(t, (&dedupServer{t: t, stored: make(map[string]uint64)}).ServeHTTP)
	var got results
	p := sdk.NewAsyncProducer(connectTo(t, address).Topic("T"), got.report())

	for i := range 3 {
		require.NoError(t, p.Send(t.Context(), sdk.Text(fmt.Sprint(i))))
	}
	require.NoError(t, p.Close(t.Context()))

	var sequences []uint64
	for _, result := range got {
		assert.NoError(t, result.Err)
		assert.False(t, result.Receipt.Duplicate)
		sequences = append(sequences, result.Receipt.Sequence)
	}
	assert.Equal(t, []uint64{1, 2, 3}, sequences)
}

func TestAsyncProducer_FullBufferBlocksAndCloseGivesUp(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]sdk.AsyncOption{
		"messages": {sdk.WithBatch(1, 1<<20), sdk.WithBuffer(2, 1<<20)},
		"bytes":    {sdk.WithBatch(1, 1<<20), sdk.WithBuffer(100, 2000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic, arrived := startSilentServer(t)
			var got results
			p := sdk.NewAsyncProducer(topic, append(opts, got.report())...)
			message := sdk.NewMessage{Data: make([]byte, 700)}
			for range 2 {
				require.NoError(t, p.Send(t.Context(), message))
			}
			<-arrived // the first is under way, and none is reported
			ended, end := context.WithCancelCause(t.Context())
			end(io.ErrUnexpectedEOF)

			require.ErrorIs(t, p.Send(ended, message), io.ErrUnexpectedEOF)
			require.ErrorIs(t, p.Flush(ended), io.ErrUnexpectedEOF)
			require.ErrorIs(t, p.Close(ended), io.ErrUnexpectedEOF)

			require.Len(t, got, 2)
			for _, result := range got {
				require.ErrorIs(t, result.Err, io.ErrUnexpectedEOF)
			}
		})
	}
}

// startSilentServer starts a server that answers no call before the test ends.
// Arrived is closed when the first call arrives.
func startSilentServer(t *testing.T) (topic *sdk.Topic, arrived chan struct{}) {
	t.Helper()
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	address, _ := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		once.Do(func() { close(arrived) })
		select {
		case <-release:
		case <-r.Context().Done():
		}
		writeProblem(w, http.StatusConflict, `{"code":"x","detail":"d"}`)
	})
	t.Cleanup(func() { close(release) })
	return connectTo(t, address).Topic("T"), arrived
}

func TestAsyncProducer_LingerSendsABatchThatIsNotFull(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})
	for _, linger := range []time.Duration{0, time.Millisecond} {
		reported := make(chan sdk.AsyncResult, 1)
		report := sdk.WithReport(func(result sdk.AsyncResult) { reported <- result })
		p := sdk.NewAsyncProducer(topic, sdk.WithLinger(linger), report)

		require.NoError(t, p.Send(t.Context(), sdk.Text("m")))

		require.NoError(t, (<-reported).Err)
		require.NoError(t, p.Close(t.Context()))
	}
}
