package sdk_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/sdk"
)

func TestTopic_CreateIsIdempotent(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	topic := newClient(t).Topic("a/b c..ü")

	info, first, err := topic.Create(ctx, sdk.PartialSettings{
		MaxAge: new(time.Hour), MaxMessages: new(int64(100)),
		WhenFull: new(sdk.RefuseNew), DedupWindow: new(time.Minute),
	})
	require.NoError(t, err)
	_, second, err := topic.Create(ctx, sdk.PartialSettings{})
	require.NoError(t, err)
	_, _, refusal := topic.Create(ctx, sdk.PartialSettings{MaxMessages: new(int64(1))})

	assert.True(t, first)
	assert.False(t, second)
	assert.Equal(t, topic.Name(), info.Name)
	assert.Equal(t, sdk.Settings{
		MaxAge: time.Hour, MaxMessages: 100, WhenFull: sdk.RefuseNew,
		DedupWindow: time.Minute, Replicas: 1, Storage: sdk.MemoryStorage,
	}, info.Settings)
	require.ErrorIs(t, refusal, sdk.ErrOtherSettings)
}

func TestTopic_InvalidNamesAndSettingsAreRefused(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	create := func(name string, settings sdk.PartialSettings) error {
		_, _, err := client.Topic(name).Create(t.Context(), settings)
		return err
	}

	require.ErrorIs(t, create("publ", sdk.PartialSettings{}), sdk.ErrInvalidTopicName)
	require.ErrorIs(t, create("", sdk.PartialSettings{}), sdk.ErrInvalidTopicName)
	require.ErrorIs(t, create("\xff", sdk.PartialSettings{}), sdk.ErrInvalidText)
	require.ErrorIs(t, create("a/b c..ü", sdk.PartialSettings{Replicas: new(9)}), sdk.ErrInvalidSetting)
}

func TestTopic_ChangeKeepsOtherSettings(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{MaxAge: new(time.Hour), MaxMessages: new(int64(100))})

	info, err := topic.Change(t.Context(), sdk.PartialSettings{MaxMessages: new(int64(3))})

	require.NoError(t, err)
	assert.EqualValues(t, 3, info.Settings.MaxMessages)
	assert.Equal(t, time.Hour, info.Settings.MaxAge)
}

func TestTopic_PurgeRemovesUpToASequenceOrAll(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	topic := newTopic(t, sdk.PartialSettings{})
	_, err := topic.ProduceBatch(ctx, texts("1", "2", "3"))
	require.NoError(t, err)

	first, err := topic.Purge(ctx, 2)
	require.NoError(t, err)
	info, err := topic.Describe(ctx)
	require.NoError(t, err)
	second, err := topic.Purge(ctx, 0)
	require.NoError(t, err)

	assert.EqualValues(t, 2, first)
	assert.EqualValues(t, 1, info.Messages)
	assert.EqualValues(t, 3, info.FirstSequence)
	assert.EqualValues(t, 3, info.LastSequence)
	assert.Equal(t, 0, *info.Consumers)
	assert.WithinDuration(t, time.Now(), info.LastTime, time.Hour)
	assert.EqualValues(t, 1, second)
}

func TestTopic_DeletedTopicIsNotFound(t *testing.T) {
	t.Parallel()
	topic := newTopic(t, sdk.PartialSettings{})

	require.NoError(t, topic.Delete(t.Context()))

	require.ErrorIs(t, topic.Delete(t.Context()), sdk.ErrTopicNotFound)
	_, err := topic.Describe(t.Context())
	require.ErrorIs(t, err, sdk.ErrTopicNotFound)
}

func TestTopic_ListFiltersByPrefix(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	for i := range 30 {
		_, _, err := client.Topic(fmt.Sprintf("%c%02d", 'a'+i%2, i)).Create(t.Context(), sdk.PartialSettings{})
		require.NoError(t, err)
	}

	names := listTopics(t, client, "a")

	assert.Len(t, names, 15)
	assert.IsIncreasing(t, names)
}

func TestTopic_ListReadsEveryPage(t *testing.T) {
	t.Parallel()
	address, requests := startServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after") == "b" {
			write(w, `{"topics":[{"name":"c"}]}`)
			return
		}
		write(w, `{"topics":[{"name":"a"},{"name":"b"}],"next":"b"}`)
	})

	names := listTopics(t, connectTo(t, address), "")

	assert.Equal(t, []string{"a", "b", "c"}, names)
	assert.EqualValues(t, 2, requests.Load())
}

func listTopics(t *testing.T, client *sdk.Client, prefix string) (names []string) {
	t.Helper()
	for info, err := range client.ListTopics(t.Context(), prefix) {
		require.NoError(t, err)
		names = append(names, info.Name)
	}
	return names
}
