package sdk_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/sdk"
)

// newClient is a client of a broker of its own.
func newClient(t *testing.T, opts ...sdk.Option) *sdk.Client {
	t.Helper()
	client, err := sdk.New(brokertest.Start(t, brokertest.Config("")).URL(), opts...)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// newTopic is a topic of a broker of its own.
func newTopic(t *testing.T, settings sdk.PartialSettings) *sdk.Topic {
	t.Helper()
	topic := newClient(t).Topic("T")
	_, _, err := topic.Create(t.Context(), settings)
	require.NoError(t, err)
	return topic
}

// texts are messages with these texts.
func texts(texts ...string) (messages []sdk.NewMessage) {
	for _, text := range texts {
		messages = append(messages, sdk.Text(text))
	}
	return messages
}

func TestATopicFromItsCreationToItsEnd(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	ctx := t.Context()
	topic := client.Topic("a/b c..ü")
	info, created, err := topic.Create(ctx, sdk.PartialSettings{
		MaxAge: new(time.Hour), MaxMessages: new(int64(100)), WhenFull: new(sdk.RefuseNew), DedupWindow: new(time.Minute),
	})
	require.NoError(t, err)
	assert.True(t, created)
	assert.Equal(t, topic.Name(), info.Name)
	assert.Equal(t, sdk.Settings{
		MaxAge: time.Hour, MaxMessages: 100, WhenFull: sdk.RefuseNew, DedupWindow: time.Minute, Replicas: 1, Storage: sdk.MemoryStorage,
	}, info.Settings)
	_, created, err = topic.Create(ctx, sdk.PartialSettings{})
	require.NoError(t, err)
	assert.False(t, created)
	_, _, err = topic.Create(ctx, sdk.PartialSettings{MaxMessages: new(int64(1))})
	require.ErrorIs(t, err, sdk.ErrOtherSettings)

	info, err = topic.Change(ctx, sdk.PartialSettings{MaxMessages: new(int64(3))})
	require.NoError(t, err)
	assert.EqualValues(t, 3, info.Settings.MaxMessages)
	assert.Equal(t, time.Hour, info.Settings.MaxAge)
	_, err = topic.ProduceBatch(ctx, texts("1", "2", "3"))
	require.NoError(t, err)
	purged, err := topic.Purge(ctx, 2)
	require.NoError(t, err)
	assert.EqualValues(t, 2, purged)
	info, err = topic.Describe(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, []uint64{1, 3, 3}, []uint64{info.Messages, info.FirstSequence, info.LastSequence})
	assert.Equal(t, 0, *info.Consumers)
	assert.WithinDuration(t, time.Now(), info.LastTime, time.Hour)
	purged, err = topic.Purge(ctx, 0)
	require.NoError(t, err)
	assert.EqualValues(t, 1, purged)

	require.NoError(t, topic.Delete(ctx))
	require.ErrorIs(t, topic.Delete(ctx), sdk.ErrTopicNotFound)
	_, err = topic.Describe(ctx)
	require.ErrorIs(t, err, sdk.ErrTopicNotFound)
	_, _, err = client.Topic("publ").Create(ctx, sdk.PartialSettings{})
	require.ErrorIs(t, err, sdk.ErrInvalidTopicName)
	_, _, err = client.Topic("").Create(ctx, sdk.PartialSettings{})
	require.ErrorIs(t, err, sdk.ErrInvalidTopicName)
	_, _, err = client.Topic("\xff").Create(ctx, sdk.PartialSettings{})
	require.ErrorIs(t, err, sdk.ErrInvalidText)
	_, _, err = topic.Create(ctx, sdk.PartialSettings{Replicas: new(9)})
	require.ErrorIs(t, err, sdk.ErrInvalidSetting)
}

func TestListsHaveEveryPage(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	for i := range 30 {
		_, _, err := client.Topic(fmt.Sprintf("%c%02d", 'a'+i%2, i)).Create(t.Context(), sdk.PartialSettings{})
		require.NoError(t, err)
	}
	var names []string
	for info, err := range client.ListTopics(t.Context(), "a") {
		require.NoError(t, err)
		names = append(names, info.Name)
	}
	assert.Len(t, names, 15)
	assert.IsIncreasing(t, names)

	pages := [][]byte{[]byte(`{"topics":[{"name":"a"},{"name":"b"}],"next":"b"}`), []byte(`{"topics":[{"name":"c"}]}`)}
	address, requests := server(t, func(w http.ResponseWriter, r *http.Request) {
		page := 0
		if r.URL.Query().Get("after") == "b" {
			page = 1
		}
		_, _ = w.Write(pages[page])
	})
	paged, err := sdk.New(address)
	require.NoError(t, err)
	defer paged.Close()
	names = nil
	for info, err := range paged.ListTopics(t.Context(), "") {
		require.NoError(t, err)
		names = append(names, info.Name)
	}
	assert.Equal(t, []string{"a", "b", "c"}, names)
	assert.EqualValues(t, 2, requests.Load())
}

func TestMessagesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})
	ctx := t.Context()
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

	records, next, err := topic.Browse(ctx, sdk.Selection{From: sdk.AtTime(receipts[1].Time), Key: "k/ü"}, sdk.Limits{Messages: 5, Bytes: 1000})
	require.NoError(t, err)
	require.Len(t, records, 1)
	assert.EqualValues(t, 3, next)
	text, err := json.Marshal(records[0])
	require.NoError(t, err)
	assert.JSONEq(t, fmt.Sprintf(`{"sequence":2,"time":%q,"key":"k/ü","content_type":"image/x","headers":{"Trace-Id":"7 ü"},"data_base64":"/wAB"}`,
		records[0].Time.Format(time.RFC3339Nano)), string(text))
}

func TestRefusedMessagesCanBeTold(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{MaxMessages: new(int64(2)), WhenFull: new(sdk.RefuseNew)})
	ctx := t.Context()
	produce := func(m sdk.NewMessage, opts ...sdk.ProduceOption) error {
		_, err := topic.Produce(ctx, m, opts...)
		return err
	}
	require.ErrorIs(t, produce(sdk.NewMessage{TTL: time.Millisecond}), sdk.ErrInvalidField)
	require.ErrorIs(t, produce(sdk.NewMessage{Key: "\xff"}), sdk.ErrInvalidText)
	require.ErrorIs(t, produce(sdk.NewMessage{Data: make([]byte, 2<<20)}), sdk.ErrMessageTooLarge)
	err := produce(sdk.Text(""), sdk.IfLastSequence(5))
	require.ErrorIs(t, err, sdk.ErrWrongLastSequence)
	_, err = topic.ProduceBatch(ctx, nil)
	require.ErrorIs(t, err, sdk.ErrInvalidBatch)

	receipts, err := topic.ProduceBatch(ctx, texts("1", "2", "3"))
	require.ErrorIs(t, err, sdk.ErrTopicFull)
	require.Len(t, receipts, 3)
	require.NoError(t, receipts[1].Err())
	require.ErrorIs(t, receipts[2].Err(), sdk.ErrTopicFull)
	refused, _ := err.(*sdk.Error) //nolint:errorlint // it is not wrapped
	assert.Equal(t, http.StatusTooManyRequests, refused.Status)
	assert.Positive(t, refused.RetryAfter)
}

func TestAConsumerFromItsRegistrationToItsEnd(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})
	ctx := t.Context()
	_, err := topic.ProduceBatch(ctx, texts("1", "2", "3"))
	require.NoError(t, err)
	spec := sdk.ConsumerSpec{Name: "c", Start: sdk.AtSequence(2), Mode: sdk.ModeLease, Lease: time.Hour, MaxInFlight: 10, MaxDeliveries: 3, DeadLetterTopic: "D"}
	first, err := topic.Subscribe(ctx, spec)
	require.NoError(t, err)
	again, err := topic.Subscribe(ctx, spec)
	require.NoError(t, err)
	assert.Equal(t, first.Label(), again.Label())
	spec.Lease = time.Minute
	_, err = topic.Subscribe(ctx, spec)
	require.ErrorIs(t, err, sdk.ErrOtherSettings)
	_, err = topic.Subscribe(ctx, sdk.ConsumerSpec{})
	require.NoError(t, err)

	c := topic.Subscription("c")
	info, err := c.Describe(ctx)
	require.NoError(t, err)
	assert.Equal(t, sdk.ConsumerInfo{
		ID: info.ID, Name: "c", Topic: "T", Mode: sdk.ModeLease, Lease: time.Hour, MaxInFlight: 10, MaxDeliveries: 3, DeadLetterTopic: "D",
		Position: 1, Lag: 2, Size: 2,
	}, info)
	records, err := c.Fetch(ctx, sdk.Limits{Messages: 5})
	require.NoError(t, err)
	require.Len(t, records, 2)
	require.NoError(t, c.Extend(ctx, time.Minute, records[0].Token))
	require.NoError(t, c.Extend(ctx, 0, records[0].Token, records[1].Token))
	require.NoError(t, c.AckUpTo(ctx, records[1].Token))
	err = c.Ack(ctx, records[0].Token)
	require.ErrorIs(t, err, sdk.ErrLeaseLost)
	refused, _ := err.(*sdk.Error) //nolint:errorlint // it is not wrapped
	assert.Equal(t, []string{records[0].Token}, refused.Tokens)

	info, err = c.Seek(ctx, sdk.AtFirst)
	require.NoError(t, err)
	assert.EqualValues(t, 3, info.Lag)
	info, err = c.Pause(ctx, time.Hour)
	require.NoError(t, err)
	assert.True(t, info.PausedUntil.After(time.Now()))
	records, err = c.Fetch(ctx, sdk.Limits{})
	require.NoError(t, err)
	assert.Empty(t, records)
	info, err = c.Resume(ctx)
	require.NoError(t, err)
	assert.True(t, info.PausedUntil.IsZero())

	var labels []string
	for info, err := range topic.Consumers(ctx) {
		require.NoError(t, err)
		labels = append(labels, fmt.Sprint(info.Name, info.Mode))
	}
	assert.Equal(t, []string{"clease", "auto"}, labels)
	require.NoError(t, c.Delete(ctx))
	require.ErrorIs(t, c.Delete(ctx), sdk.ErrConsumerNotFound)
	_, err = topic.Subscription("").Describe(ctx)
	require.Error(t, err)
}

func TestPlacesAreReadAndWritten(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"first", "new", "42", "2026-01-31T12:00:00.5Z"} {
		place, err := sdk.ParseStart(text)
		require.NoError(t, err)
		assert.Equal(t, text, place.String())
	}
	for _, text := range []string{"", "last", "-1", "2026-01-31"} {
		_, err := sdk.ParseStart(text)
		assert.Error(t, err, text)
	}
}
