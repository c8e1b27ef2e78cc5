package sdk_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

func TestMessage_IsReadAsItWasProduced(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	topic := newTopic(t, sdk.PartialSettings{})
	sent := []sdk.NewMessage{
		{Data: []byte("a text <&> \u2028 ü \x00")},
		{Data: []byte{0xff, 0, 1}, Key: "k/ü", ContentType: "image/x", Headers: map[string]string{"Trace-Id": "7 ü"}},
		{},
	}

	receipts, err := topic.ProduceBatch(ctx, sent)
	require.NoError(t, err)

	for i, m := range sent {
		r, err := topic.Get(ctx, receipts[i].Sequence)
		require.NoError(t, err)
		assert.Equal(t, string(m.Data), string(r.Data))
		assert.Equal(t, m.Key, r.Key)
		assert.Equal(t, m.ContentType, r.ContentType)
		assert.Equal(t, m.Headers, r.Headers)
		assert.WithinDuration(t, receipts[i].Time, r.Time, time.Minute)
	}
	_, err = topic.Get(ctx, 9)
	require.ErrorIs(t, err, sdk.ErrMessageNotFound)
}

func TestMessage_BrowseSelectsByTimeAndKey(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	topic := newTopic(t, sdk.PartialSettings{})
	receipts, err := topic.ProduceBatch(ctx, []sdk.NewMessage{{}, {Data: []byte("m"), Key: "k/ü"}, {}})
	require.NoError(t, err)
	what := sdk.Selection{From: sdk.AtTime(receipts[1].Time), Key: "k/ü"}

	records, next, err := topic.Browse(ctx, what, sdk.Limits{Messages: 5, Bytes: 1000})

	require.NoError(t, err)
	require.Len(t, records, 1)
	assert.EqualValues(t, 2, records[0].Sequence)
	assert.EqualValues(t, 3, next)
}

func TestMessage_JSONIsThatOfTheBroker(t *testing.T) {
	t.Parallel()
	record := sdk.Record{
		Sequence: 2, Time: time.Date(2026, 1, 31, 12, 0, 0, 500, time.UTC), Key: "k/ü", ContentType: "image/x",
		Headers: map[string]string{"Trace-Id": "7 ü"}, Data: []byte{0xff, 0, 1},
	}

	text, err := json.Marshal(record)

	require.NoError(t, err)
	assert.JSONEq(t, `{"sequence":2,"time":"2026-01-31T12:00:00.0000005Z","key":"k/ü","content_type":"image/x",
		"headers":{"Trace-Id":"7 ü"},"data_base64":"/wAB"}`, string(text))
}
