package jetstream_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/jetstream"
)

func TestTopics_OneOfManyCreationsSucceeds(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		var created atomic.Int32
		var all sync.WaitGroup

		for range 8 {
			all.Go(func() {
				err := s.Create(t.Context(), "T", s.DefaultSettings())
				if err == nil {
					created.Add(1)
					return
				}
				assert.Equal(t, &jetstream.ExistsError{Topic: "T"}, err)
			})
		}
		all.Wait()

		assert.EqualValues(t, 1, created.Load())
	})
}

func TestTopics_AreListedByNameAndDescribedIfTheyExist(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		for _, name := range []string{"b", "a.b", "a b", "主题", "a-b"} {
			s.create(t, name, nil)
		}
		require.NoError(t, s.Delete(t.Context(), "a.b"))

		var names []string
		for name, err := range s.Names(t.Context(), "", "") {
			require.NoError(t, err)
			names = append(names, name)
		}
		described, err := s.DescribeAll(t.Context(), []string{"主题", "a.b", "b"})

		require.NoError(t, err)
		assert.Equal(t, []string{"a b", "a-b", "b", "主题"}, names)
		require.Len(t, described, 2)
		assert.Equal(t, "主题", described[0].Name)
		assert.Equal(t, "b", described[1].Name)
	})
}

func TestTopics_DeletedTopicComesBackEmpty(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		for range 3 {
			s.create(t, "T", nil)
			assert.Empty(t, s.read(t, "T", jetstream.Range{}))
			s.publish(t, "T", drafts("a", "b")...)

			require.NoError(t, s.Delete(t.Context(), "T"))
			assert.Equal(t, &jetstream.TopicNotFoundError{Topic: "T"}, s.Delete(t.Context(), "T"))
		}
	})
}

func TestTopics_PurgeKeepsTheSequence(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a", "b", "c", "d")...)

		upTo2, err := s.Purge(t.Context(), "T", 2)
		require.NoError(t, err)
		left := s.read(t, "T", jetstream.Range{})
		all, err := s.Purge(t.Context(), "T", 0)
		require.NoError(t, err)
		beyond, err := s.Purge(t.Context(), "T", 1000)
		require.NoError(t, err)
		next := s.publish(t, "T", drafts("e")...)

		assert.EqualValues(t, 2, upTo2)
		assert.EqualValues(t, 2, all)
		assert.Zero(t, beyond)
		assert.Equal(t, []string{"c", "d"}, left)
		assert.EqualValues(t, 5, next[0].Sequence)
		described, err := s.Describe(t.Context(), "T")
		require.NoError(t, err)
		assert.EqualValues(t, 1, described.Messages)
		assert.EqualValues(t, 5, described.FirstSequence)
		assert.EqualValues(t, 5, described.LastSequence)
	})
}

func TestTopics_SettingsCanBeChangedButNotTheStorage(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", nil)
		s.publish(t, "T", drafts("a", "b", "c")...)
		described, err := s.Describe(t.Context(), "T")
		require.NoError(t, err)
		assert.Equal(t, s.DefaultSettings().Complete(), described.Settings)
		want := jetstream.Settings{
			MaxAge:          jetstream.Duration(time.Hour),
			MaxBytes:        1 << 20,
			MaxMessages:     2,
			WhenFull:        jetstream.RefuseNew,
			MaxMessageBytes: 1000,
			DedupWindow:     jetstream.Duration(time.Minute),
			Replicas:        1,
			Storage:         described.Settings.Storage,
		}
		other := want
		other.Storage = map[string]string{"file": "memory", "memory": "file"}[want.Storage]

		to := func(settings jetstream.Settings) func(jetstream.Settings) (jetstream.Settings, error) {
			return func(jetstream.Settings) (jetstream.Settings, error) { return settings, nil }
		}
		require.NoError(t, s.Change(t.Context(), "T", to(want)))
		refused := s.Change(t.Context(), "T", to(other))

		described, err = s.Describe(t.Context(), "T")
		require.NoError(t, err)
		assert.Equal(t, want, described.Settings)
		var setting *jetstream.SettingError
		require.ErrorAs(t, refused, &setting)
		assert.Equal(t, "storage", setting.Setting)
		assert.Equal(t, &jetstream.TopicNotFoundError{Topic: "U"}, s.Change(t.Context(), "U", to(want)))
	})
}

func TestTopics_MaxBytesBoundsTheLargestMessage(t *testing.T) {
	inBothStorages(t, func(t *testing.T, s store) {
		s.create(t, "T", func(s *jetstream.Settings) { s.MaxBytes = jetstream.MinBytes })

		described, err := s.Describe(t.Context(), "T")
		require.NoError(t, err)
		large := s.Publish(t.Context(), "T", make([]byte, jetstream.MinBytes))

		assert.Zero(t, described.Settings.MaxMessageBytes, "the engine's limit is not a setting of the topic")
		assert.IsType(t, &jetstream.MessageTooLargeError{}, large)
	})
}

func TestTopics_WrongSettingsAreRefused(t *testing.T) {
	t.Parallel()
	s := openStore(t, startEngine(t, ""), jetstream.StoreOptions{Storage: jetstream.Memory})
	second := jetstream.Duration(time.Second)

	for _, test := range []struct {
		setting string
		change  func(*jetstream.Settings)
	}{
		{"max_age", func(s *jetstream.Settings) { s.MaxAge = 1 }},
		{"max_age", func(s *jetstream.Settings) { s.MaxAge = jetstream.MaxDuration + 1 }},
		{"max_bytes", func(s *jetstream.Settings) { s.MaxBytes = jetstream.MinBytes - 1 }},
		{"max_bytes", func(s *jetstream.Settings) { s.MaxBytes = -1 }},
		{"max_messages", func(s *jetstream.Settings) { s.MaxMessages = -1 }},
		{"when_full", func(s *jetstream.Settings) { s.WhenFull = "" }},
		{"max_message_bytes", func(s *jetstream.Settings) { s.MaxMessageBytes = -1 }},
		{"max_message_bytes", func(s *jetstream.Settings) { s.MaxBytes, s.MaxMessageBytes = 1024, 1024 }},
		{"dedup_window", func(s *jetstream.Settings) { s.DedupWindow = 1 }},
		{"dedup_window", func(s *jetstream.Settings) { s.DedupWindow = jetstream.MaxDuration + 1 }},
		{"dedup_window", func(s *jetstream.Settings) { s.MaxAge, s.DedupWindow = second, second+1 }},
		{"replicas", func(s *jetstream.Settings) { s.Replicas = 0 }},
		{"replicas", func(s *jetstream.Settings) { s.Replicas = jetstream.MaxReplicas + 1 }},
		{"replicas", func(s *jetstream.Settings) { s.Replicas = 3 }}, // the engine refuses that
		{"storage", func(s *jetstream.Settings) { s.Storage = "tape" }},
	} {
		settings := s.DefaultSettings()
		test.change(&settings)

		err := s.Create(t.Context(), "T", settings)

		var setting *jetstream.SettingError
		require.ErrorAs(t, err, &setting, "%+v", settings)
		assert.Equal(t, test.setting, setting.Setting)
	}
}

func TestTopics_InvalidNameIsRefused(t *testing.T) {
	t.Parallel()
	s := openStore(t, startEngine(t, ""), jetstream.StoreOptions{Storage: jetstream.Memory})

	for _, name := range []string{"", "subl", "publ", "a--b", "a–b", "\xff", string(make([]byte, 81))} {
		err := s.Create(t.Context(), name, s.DefaultSettings())

		assert.IsType(t, &jetstream.NameError{}, err, "%q", name)
	}
}
