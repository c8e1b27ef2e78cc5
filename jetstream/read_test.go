package jetstream_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream"
)

func TestTopics_ReadReturnsTheRange(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T",
			jetstream.Draft{Data: []byte("a")},
			jetstream.Draft{Data: []byte("b"), Key: "k"},
			jetstream.Draft{Data: []byte("c")},
			jetstream.Draft{Data: []byte("d"), Key: "k"},
		)
		third, err := s.Get(t.Context(), "T", 3)
		require.NoError(t, err)

		for _, test := range []struct {
			name string
			r    jetstream.Range
			want []string
		}{
			{name: "all", want: []string{"a", "b", "c", "d"}},
			{name: "from a sequence", r: jetstream.Range{From: 3}, want: []string{"c", "d"}},
			{name: "after the last", r: jetstream.Range{From: 5}},
			{name: "at most two", r: jetstream.Range{Max: 2}, want: []string{"a", "b"}},
			{name: "one message has the bytes", r: jetstream.Range{MaxBytes: 1}, want: []string{"a"}},
			{name: "key", r: jetstream.Range{Key: "k"}, want: []string{"b", "d"}},
			{name: "key from a sequence", r: jetstream.Range{From: 3, Key: "k"}, want: []string{"d"}},
			{name: "unknown key", r: jetstream.Range{Key: "x"}},
			{name: "since a time", r: jetstream.Range{Since: third.Time}, want: []string{"c", "d"}},
			{name: "since a time with a key", r: jetstream.Range{Since: third.Time, Key: "k"}, want: []string{"d"}},
			{name: "since the future", r: jetstream.Range{Since: time.Now().Add(time.Hour)}},
		} {
			assert.Equal(t, test.want, s.read(t, "T", test.r), test.name)
		}
	})
}

func TestTopics_ReadGoesOnAfterGaps(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a", "b")...)
		s.publish(t, "T", jetstream.Draft{Data: []byte("gap"), TTL: time.Second})
		s.publish(t, "T", drafts("c")...)
		gone := func() bool {
			_, err := s.Get(t.Context(), "T", 3)
			return assert.ObjectsAreEqual(&jetstream.NoMessageError{Topic: "T", Sequence: 3}, err)
		}
		require.Eventually(t, gone, 30*time.Second, 20*time.Millisecond)

		// A read may end at a gap, but not before it has a message.
		var got []string
		for from := uint64(1); ; {
			messages, err := s.Read(t.Context(), "T", jetstream.Range{From: from, Max: 10, MaxBytes: 1000})
			require.NoError(t, err)
			if len(messages) == 0 {
				break
			}
			for _, m := range messages {
				got = append(got, string(m.Data))
				from = m.Sequence + 1
			}
		}

		assert.Equal(t, []string{"a", "b", "c"}, got)
	})
}

func TestTopics_ReadOfMissingTopicIsNotFound(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		for _, topic := range []string{"T", "", "a--b"} {
			want := &jetstream.TopicNotFoundError{Topic: topic}

			_, read := s.Read(t.Context(), topic, jetstream.Range{Max: 1, MaxBytes: 1})
			_, wait := s.ReadWait(t.Context(), topic, jetstream.Range{Max: 1, MaxBytes: 1})
			_, described := s.Describe(t.Context(), topic)
			_, pending := s.Pending(t.Context(), topic, 1, "")

			for _, err := range []error{read, wait, described, pending} {
				assert.Equal(t, want, err)
			}
		}
	})
}

func TestTopics_ReadWaitReturnsTheNextMessage(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		nothing, err := s.ReadWait(soon(t), "T", jetstream.Range{Max: 10, MaxBytes: 1000})
		require.NoError(t, err)
		assert.Empty(t, nothing, "the end of the context is no error")
		published := make(chan error, 1)

		go func() { published <- s.Publish(t.Context(), "T", []byte("a")) }()
		got, err := s.ReadWait(t.Context(), "T", jetstream.Range{Max: 10, MaxBytes: 1000})

		require.NoError(t, err)
		require.NoError(t, <-published)
		require.Len(t, got, 1)
		assert.Equal(t, "a", string(got[0].Data))
	})
}

func TestTopics_PendingCountsMessagesFromASequenceOn(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a", "b", "c", "d")...)
		s.publish(t, "T", jetstream.Draft{Key: "k", Data: []byte("e")})
		_, err := s.Purge(t.Context(), "T", 2)
		require.NoError(t, err)

		for _, test := range []struct {
			from uint64
			key  string
			want uint64
		}{
			{from: 0, want: 3},
			{from: 1, want: 3},
			{from: 4, want: 2},
			{from: 6, want: 0},
			{from: 100, want: 0},
			{from: 1, key: "k", want: 1},
			{from: 6, key: "k", want: 0},
		} {
			got, err := s.Pending(t.Context(), "T", test.from, test.key)
			require.NoError(t, err)
			assert.Equal(t, test.want, got, "from %d, key %q", test.from, test.key)
		}
	})
}
