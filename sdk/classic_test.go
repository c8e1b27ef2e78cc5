package sdk_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

// startClassic registers a producer and a consumer of the topic T.
func startClassic(t *testing.T) (*sdk.Producer, *sdk.Consumer) {
	t.Helper()
	client := newClient(t)
	producer, err := sdk.NewProducer(t.Context(), client, "T", "T")
	require.NoError(t, err)
	consumer, err := sdk.NewConsumer(t.Context(), client, []string{"T"}, sdk.WithIdleTimeout(0))
	require.NoError(t, err)
	return producer, consumer
}

func TestConsumer_LoopThatEndsLosesNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	producer, consumer := startClassic(t)
	for i := range 3 {
		require.NoError(t, producer.Send(ctx, "T", fmt.Sprint(i)))
	}

	for message, err := range consumer.Messages(ctx) {
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
}

func TestConsumer_CloseEndsMessages(t *testing.T) {
	t.Parallel()
	_, consumer := startClassic(t)

	require.NoError(t, consumer.Close())

	n := 0
	for _, err := range consumer.Messages(t.Context()) {
		require.ErrorIs(t, err, sdk.ErrClosed)
		n++
	}
	assert.Equal(t, 1, n)
}

func TestConsumer_TopicThatDoesNotExistIsRefused(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	require.NoError(t, client.CreateTopic(t.Context(), "T"))

	_, err := sdk.NewConsumer(t.Context(), client, []string{"T", "none"})

	require.ErrorIs(t, err, sdk.ErrTopicNotFound)
}

func TestProducer_OtherTopicsAndUseAfterCloseAreRefused(t *testing.T) {
	t.Parallel()
	producer, _ := startClassic(t)

	other := producer.Send(t.Context(), "other", "")
	require.NoError(t, producer.Close())
	closed := producer.Send(t.Context(), "T", "")

	require.ErrorIs(t, other, sdk.ErrProducerNotRegistered)
	require.ErrorIs(t, closed, sdk.ErrClosed)
}
