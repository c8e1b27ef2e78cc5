package sdk_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

func TestProduce_RefusalsHaveCodes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	topic := newTopic(t, sdk.PartialSettings{})
	produce := func(m sdk.NewMessage, opts ...sdk.ProduceOption) error {
		_, err := topic.Produce(ctx, m, opts...)
		return err
	}
	_, empty := topic.ProduceBatch(ctx, nil)
	_, twice := topic.ProduceBatch(ctx, keyed("k", "k"), sdk.Atomically())

	require.ErrorIs(t, produce(sdk.NewMessage{TTL: time.Millisecond}), sdk.ErrInvalidField)
	require.ErrorIs(t, produce(sdk.NewMessage{Key: "\xff"}), sdk.ErrInvalidText)
	require.ErrorIs(t, produce(sdk.NewMessage{Data: make([]byte, 2<<20)}), sdk.ErrMessageTooLarge)
	require.ErrorIs(t, produce(sdk.Text(""), sdk.IfLastSequence(5)), sdk.ErrWrongLastSequence)
	require.ErrorIs(t, empty, sdk.ErrInvalidBatch)
	require.ErrorIs(t, twice, sdk.ErrDuplicateBatch)
}

func TestProduce_FullTopicStoresAsManyAsFit(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{MaxMessages: new(int64(2)), WhenFull: new(sdk.RefuseNew)})

	receipts, err := topic.ProduceBatch(t.Context(), texts("1", "2", "3"))

	require.ErrorIs(t, err, sdk.ErrTopicFull)
	require.Len(t, receipts, 3)
	require.NoError(t, receipts[1].Err())
	require.ErrorIs(t, receipts[2].Err(), sdk.ErrTopicFull)
	refused, _ := errors.AsType[*sdk.Error](err)
	assert.Equal(t, http.StatusTooManyRequests, refused.Status)
	assert.Positive(t, refused.RetryAfter)
}

func TestProduce_MissingReceiptsAreNoSuccess(t *testing.T) {
	t.Parallel()
	address, _ := startServer(t, func(w http.ResponseWriter, _ *http.Request) {
		write(w, `{"messages":[{"sequence":1}]}`)
	})
	topic := connectTo(t, address).Topic("T")

	_, err := topic.ProduceBatch(t.Context(), texts("1", "2"))

	require.ErrorIs(t, err, sdk.ErrOutcomeUnknown)
}
