package sdk_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

func TestError_ClassicRefusalsHaveCodes(t *testing.T) {
	t.Parallel()
	client := newClient(t)
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

func TestError_BrokerWithoutCodesIsUnderstood(t *testing.T) {
	t.Parallel()
	address, _ := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		write(w, `{"status":"failure","message":"Empty logs for Comsumer:0 for Topic:T"}`)
	})
	client := connectTo(t, address)

	_, err := client.Consume(t.Context(), "T", 0)

	assert.ErrorIs(t, err, sdk.ErrEmpty)
}

func TestError_ProblemsAreReadWithAllFields(t *testing.T) {
	t.Parallel()
	address, _ := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusConflict, `{"type":"x","title":"x","status":409,"detail":"d","code":"c",
			"tokens":["t"],"last_sequence":7,"messages":[{"code":"e"}]}`)
	})
	client := connectTo(t, address, sdk.WithRetries(0))

	_, err := client.Topic("T").Describe(t.Context())

	assert.Equal(t, &sdk.Error{
		Status: http.StatusConflict, Code: "c", Message: "d",
		Tokens: []string{"t"}, LastSequence: 7, Receipts: []sdk.Receipt{{Code: "e"}},
	}, err)
}

func TestError_AnswerOfAProxyIsShown(t *testing.T) {
	t.Parallel()
	address, _ := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "<h1>Bad Gateway</h1>", http.StatusBadGateway)
	})
	client := connectTo(t, address, sdk.WithRetries(0))

	_, err := client.Topic("T").Describe(t.Context())

	assert.ErrorContains(t, err, "HTTP status 502: <h1>Bad Gateway</h1>")
}
