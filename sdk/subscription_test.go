package sdk_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

// startConsumer registers a consumer in mode lease of a topic with three messages,
// which starts at the second.
func startConsumer(t *testing.T) (*sdk.Topic, *sdk.Subscription) {
	t.Helper()
	topic := newTopic(t, sdk.PartialSettings{})
	_, err := topic.ProduceBatch(t.Context(), texts("1", "2", "3"))
	require.NoError(t, err)
	_, err = topic.Subscribe(t.Context(), spec)
	require.NoError(t, err)
	return topic, topic.Subscription("c")
}

var spec = sdk.ConsumerSpec{
	Name: "c", Start: sdk.AtSequence(2), Mode: sdk.ModeLease, Lease: time.Hour,
	MaxInFlight: 10, MaxDeliveries: 3, DeadLetterTopic: "D",
}

func TestSubscription_SubscribeWithANameIsIdempotent(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})
	other := spec
	other.Lease = time.Minute

	first, err := topic.Subscribe(t.Context(), spec)
	require.NoError(t, err)
	second, err := topic.Subscribe(t.Context(), spec)
	require.NoError(t, err)
	_, refusal := topic.Subscribe(t.Context(), other)

	assert.Equal(t, first.Label(), second.Label())
	require.ErrorIs(t, refusal, sdk.ErrOtherSettings)
}

func TestSubscription_DescribeTellsSettingsAndProgress(t *testing.T) {
	t.Parallel()
	_, c := startConsumer(t)

	info, err := c.Describe(t.Context())

	require.NoError(t, err)
	assert.Equal(t, sdk.ConsumerInfo{
		ID: info.ID, Name: "c", Topic: "T", Mode: sdk.ModeLease, Lease: time.Hour,
		MaxInFlight: 10, MaxDeliveries: 3, DeadLetterTopic: "D",
		Position: 1, Lag: 2, Size: 2, DroppedUnread: new(uint64),
	}, info)
}

func TestSubscription_AcknowledgedLeaseIsLost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, c := startConsumer(t)
	records, err := c.Fetch(ctx, sdk.Limits{Messages: 5})
	require.NoError(t, err)
	require.Len(t, records, 2)

	require.NoError(t, c.Extend(ctx, time.Minute, records[0].Token))
	require.NoError(t, c.Extend(ctx, 0, records[0].Token, records[1].Token))
	require.NoError(t, c.AckUpTo(ctx, records[1].Token))
	err = c.Ack(ctx, records[0].Token)

	require.ErrorIs(t, err, sdk.ErrLeaseLost)
	refused, _ := errors.AsType[*sdk.Error](err)
	assert.Equal(t, []string{records[0].Token}, refused.Tokens)
}

func TestSubscription_SeekMovesIt(t *testing.T) {
	t.Parallel()
	_, c := startConsumer(t)

	info, err := c.Seek(t.Context(), sdk.AtFirst)

	require.NoError(t, err)
	assert.EqualValues(t, 3, info.Lag)
}

func TestSubscription_PauseEndsByResume(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, c := startConsumer(t)

	paused, err := c.Pause(ctx, time.Hour)
	require.NoError(t, err)
	records, err := c.Fetch(ctx, sdk.Limits{})
	require.NoError(t, err)
	resumed, err := c.Resume(ctx)
	require.NoError(t, err)

	assert.True(t, paused.PausedUntil.After(time.Now()))
	assert.Empty(t, records)
	assert.True(t, resumed.PausedUntil.IsZero())
}

func TestSubscription_ListHasEveryConsumer(t *testing.T) {
	t.Parallel()
	topic, _ := startConsumer(t)
	_, err := topic.Subscribe(t.Context(), sdk.ConsumerSpec{})
	require.NoError(t, err)

	var labels []string
	for info, err := range topic.Consumers(t.Context()) {
		require.NoError(t, err)
		labels = append(labels, fmt.Sprint(info.Name, info.Mode))
	}

	assert.Equal(t, []string{"clease", "auto"}, labels)
}

func TestSubscription_DeletedConsumerIsNotFound(t *testing.T) {
	t.Parallel()
	topic, c := startConsumer(t)

	require.NoError(t, c.Delete(t.Context()))

	require.ErrorIs(t, c.Delete(t.Context()), sdk.ErrConsumerNotFound)
	_, err := topic.Subscription("").Describe(t.Context())
	require.Error(t, err)
}
