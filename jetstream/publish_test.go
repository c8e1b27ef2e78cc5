package jetstream_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream"
)

func TestTopics_PublishedMessageReadsBackWhole(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "a b*>", nil)
		draft := jetstream.Draft{
			Key:         "key.ü",
			ContentType: "text/plain",
			Headers:     map[string]string{"Trace": "7", "Empty": ""},
			Data:        []byte("data"),
		}

		receipt := s.publish(t, "a b*>", draft)[0]
		got, err := s.Get(t.Context(), "a b*>", receipt.Sequence)

		require.NoError(t, err)
		assert.WithinDuration(t, receipt.Time, got.Time, time.Minute)
		got.Time = time.Time{}
		assert.EqualExportedValues(t, jetstream.Message{
			Sequence:    1,
			Key:         draft.Key,
			ContentType: draft.ContentType,
			Headers:     draft.Headers,
			Data:        draft.Data,
		}, got)
	})
}

func TestTopics_PlainPublishHasNoKeyAndNoHeaders(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)

		require.NoError(t, s.Publish(t.Context(), "T", []byte("data")))
		got, err := s.Get(t.Context(), "T", 1)

		require.NoError(t, err)
		got.Time = time.Time{}
		assert.EqualExportedValues(t, jetstream.Message{Sequence: 1, Data: []byte("data")}, got)
	})
}

func TestTopics_EveryKeyReadsBack(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		keys := []string{"", "-", "=2D", "a.b", "*", ">", "k"}

		for _, key := range keys {
			s.publish(t, "T", jetstream.Draft{Key: key, Data: []byte(key)})
		}

		messages, err := s.Read(t.Context(), "T", jetstream.Range{Max: 100, MaxBytes: 1000})
		require.NoError(t, err)
		require.Len(t, messages, len(keys))
		for i, m := range messages {
			assert.Equal(t, keys[i], m.Key)
		}
	})
}

func TestTopics_TTLRemovesMessage(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", jetstream.Draft{Data: []byte("short"), TTL: time.Second})
		s.publish(t, "T", jetstream.Draft{Data: []byte("long")})
		require.Equal(t, []string{"short", "long"}, s.read(t, "T", jetstream.Range{}))

		expired := func() bool { return len(s.read(t, "T", jetstream.Range{})) == 1 }

		require.Eventually(t, expired, 30*time.Second, 20*time.Millisecond)
		assert.Equal(t, []string{"long"}, s.read(t, "T", jetstream.Range{}))
	})
}

func TestTopics_IdempotencyKeyIsStoredOnce(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		draft := jetstream.Draft{ID: "id", Data: []byte("first")}
		first := s.publish(t, "T", draft)[0]

		draft.Data = []byte("second")
		retry := s.publish(t, "T", draft)[0]

		assert.Equal(t, jetstream.Receipt{Sequence: first.Sequence, Duplicate: true}, retry)
		assert.Equal(t, []string{"first"}, s.read(t, "T", jetstream.Range{}))
	})
}

func TestTopics_AtomicBatchChecksTheLastSequence(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a")...)

		_, wrong := s.PublishAtomically(t.Context(), "T", drafts("b", "c"), new(uint64(7)))
		receipts, err := s.PublishAtomically(t.Context(), "T", drafts("d", "e"), new(uint64(1)))

		var sequence *jetstream.SequenceError
		require.ErrorAs(t, wrong, &sequence)
		assert.Equal(t, &jetstream.SequenceError{Topic: "T", Last: new(uint64(1))}, sequence)
		require.NoError(t, err)
		assert.EqualValues(t, 2, receipts[0].Sequence)
		assert.EqualValues(t, 3, receipts[1].Sequence)
		assert.Equal(t, []string{"a", "d", "e"}, s.read(t, "T", jetstream.Range{}))
	})
}

func TestTopics_AtomicBatchIsStoredAsAWholeOrNotAtAll(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", func(s *jetstream.Settings) { s.MaxMessageBytes = 300 })
		ctx := t.Context()
		batch := drafts("a", "b")
		batch[0].ID, batch[1].ID = "1", "2"
		mixed := drafts("b", "c")
		mixed[0].ID, mixed[1].ID = "2", "3"

		_, err := s.PublishAtomically(ctx, "T", batch, nil)
		require.NoError(t, err)
		retry, retryErr := s.PublishAtomically(ctx, "T", batch, nil)
		_, mixedErr := s.PublishAtomically(ctx, "T", mixed, nil)
		_, largeErr := s.PublishAtomically(ctx, "T", drafts("d", strings.Repeat("x", 400), "e"), nil)
		_, emptyErr := s.PublishAtomically(ctx, "T", nil, nil)
		_, longErr := s.PublishAtomically(ctx, "T", make([]jetstream.Draft, jetstream.MaxAtomicBatch+1), nil)

		require.NoError(t, retryErr)
		assert.Equal(t, []jetstream.Receipt{{Sequence: 1, Duplicate: true}, {Sequence: 2, Duplicate: true}}, retry)
		assert.Equal(t, &jetstream.DuplicateError{}, mixedErr)
		assert.Equal(t, &jetstream.MessageTooLargeError{Topic: "T", Limit: 300}, largeErr)
		assert.IsType(t, &jetstream.BatchError{}, emptyErr)
		assert.IsType(t, &jetstream.BatchError{}, longErr)
		assert.Equal(t, []string{"a", "b"}, s.read(t, "T", jetstream.Range{}))
	})
}

func TestTopics_LimitsApplyToNewMessages(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "refuses", func(s *jetstream.Settings) { s.MaxMessages, s.WhenFull = 2, jetstream.RefuseNew })
		s.create(t, "drops", func(s *jetstream.Settings) { s.MaxMessages = 2 })
		s.create(t, "small", func(s *jetstream.Settings) { s.MaxMessageBytes = 10 })

		full := s.PublishAll(t.Context(), "refuses", drafts("a", "b", "c"))
		s.publish(t, "drops", drafts("a", "b", "c")...)
		large := s.Publish(t.Context(), "small", make([]byte, 11))

		assert.NoError(t, full[1].Err)
		assert.Equal(t, &jetstream.FullError{Topic: "refuses"}, full[2].Err)
		assert.Equal(t, []string{"a", "b"}, s.read(t, "refuses", jetstream.Range{}))
		assert.Equal(t, []string{"b", "c"}, s.read(t, "drops", jetstream.Range{}))
		assert.Equal(t, &jetstream.MessageTooLargeError{Topic: "small", Limit: 10}, large)
	})
}

func TestTopics_PublishToMissingTopicIsNotFound(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		want := &jetstream.TopicNotFoundError{Topic: "T"}

		one := s.Publish(t.Context(), "T", []byte("a"))
		all := s.PublishAll(t.Context(), "T", drafts("a"))
		_, atomically := s.PublishAtomically(t.Context(), "T", drafts("a", "b"), nil)

		assert.Equal(t, want, one)
		assert.Equal(t, want, all[0].Err)
		assert.Equal(t, want, atomically)
	})
}

func TestTopics_FullDiskRefusesNewDataOnly(t *testing.T) {
	t.Parallel()
	full := &jetstream.StorageFullError{Free: 1, Reserve: 2}
	server := startEngine(t, "")
	s := openStore(t, server, jetstream.StoreOptions{Storage: jetstream.Memory})
	s.create(t, "T", nil)
	s.publish(t, "T", drafts("a")...)
	s = openStore(t, server, jetstream.StoreOptions{
		Storage:    jetstream.Memory,
		CheckSpace: func(messages, bytes int) error { return full },
	})

	created := s.Create(t.Context(), "U", s.DefaultSettings())
	one := s.Publish(t.Context(), "T", []byte("b"))
	all := s.PublishAll(t.Context(), "T", drafts("b", "c"))
	_, atomically := s.PublishAtomically(t.Context(), "T", drafts("b", "c"), nil)
	texts, _ := s.fetch(t, jetstream.Consumer{ID: 1, Topic: "T"}, 10)
	_, purged := s.Purge(t.Context(), "T", 0)

	for _, err := range []error{created, one, all[0].Err, all[1].Err, atomically} {
		assert.Equal(t, full, err)
	}
	assert.Equal(t, []string{"a"}, texts, "nothing new is stored, and consuming goes on")
	assert.NoError(t, purged)
}
