package jetstream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeStreams is an engine that only lists its streams.
type fakeStreams struct {
	topics   map[string]bool
	streams  []string // those of the topics, and others
	starts   pieceStarts
	requests int
	change   func(f *fakeStreams) // called before each request, if it is not nil
}

func (f *fakeStreams) names(_ context.Context, offset int) ([]string, int, error) {
	if f.change != nil {
		f.change(f)
	}
	if f.change != nil || f.streams == nil {
		f.streams = []string{"KV_dq_cursors", "dq-positions", "other", "dq_=2e", "dq_"}
		for topic := range f.topics {
			f.streams = append(f.streams, StreamName(topic))
		}
		slices.Sort(f.streams)
	}

	f.requests++
	from := min(offset, len(f.streams))
	return f.streams[from:min(from+pieceLength, len(f.streams))], len(f.streams), nil
}

// list returns at most limit of the topics that start with prefix and come after the name after.
func (f *fakeStreams) list(t *testing.T, prefix, after string, limit int) (names []string) {
	t.Helper()
	l := &streamList{names: f.names, pieces: make(map[int]piece), starts: &f.starts}
	_, err := l.each(t.Context(), prefix, after, func(name string) bool {
		names = append(names, name)
		return len(names) < limit
	})
	require.NoError(t, err)
	return names
}

func TestList_PagesAreInTheOrderOfNamesHoweverMany(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	const letters = "ab.-:09Z_ ~\xff\x00"
	f := &fakeStreams{topics: make(map[string]bool)}
	for len(f.topics) < 8000 {
		name := make([]byte, 1+random.IntN(7))
		for i := range name {
			name[i] = letters[random.IntN(len(letters))]
		}
		f.topics[string(name)] = true
	}
	all := make([]string, 0, len(f.topics))
	for topic := range f.topics {
		all = append(all, topic)
	}
	slices.Sort(all)

	for _, prefix := range []string{"", "a", "a.", "-", "\xff", "b:Z", "none"} {
		for _, after := range []string{"", "a", "a.-9", all[4000], all[7999], "\xff\xff\xff", "b:Z0", "nonf"} {
			for _, limit := range []int{1, 100, 8001} {
				got := f.list(t, prefix, after, limit)

				want := slices.DeleteFunc(slices.Clone(all), func(name string) bool {
					return !strings.HasPrefix(name, prefix) || name <= after
				})
				want = want[:min(limit, len(want))]
				assert.True(t, slices.Equal(want, got), "%q %q %d", prefix, after, limit)
			}
		}
	}
}

func TestList_PageAsksForFewPiecesOfTheNames(t *testing.T) {
	t.Parallel()
	f := &fakeStreams{topics: make(map[string]bool)}
	for i := range 10_000 {
		f.topics[fmt.Sprintf("topic-%05d", i)] = true
	}

	f.list(t, "", "topic-07000", 1) // learns where the pieces start

	for i := 0; i < 9_999; i += 217 {
		f.requests = 0

		got := f.list(t, "", fmt.Sprintf("topic-%05d", i), 1)

		assert.Equal(t, []string{fmt.Sprintf("topic-%05d", i+1)}, got)
		assert.LessOrEqual(t, f.requests, 5, "after topic %d", i)
	}
	f.requests = 0
	assert.Len(t, f.list(t, "", "", 20_000), 10_000)
	assert.LessOrEqual(t, f.requests, 11)
}

func TestList_TopicThatStaysIsListedOnceWhileOthersComeAndGo(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	f := &fakeStreams{topics: make(map[string]bool)}
	var stay []string
	for i := range 3000 {
		name := fmt.Sprintf("t%04d", i)
		stay = append(stay, name)
		f.topics[name] = true
	}
	f.change = func(f *fakeStreams) {
		for range random.IntN(300) {
			f.topics[fmt.Sprintf("t%04d-%d", random.IntN(3000), random.IntN(2))] = random.IntN(2) == 0
		}
		for topic, exists := range f.topics {
			if !exists {
				delete(f.topics, topic)
			}
		}
	}

	for range 20 {
		got := f.list(t, "", "", 20_000)

		assert.True(t, slices.IsSorted(got))
		assert.Equal(t, stay, slices.DeleteFunc(got, func(name string) bool { return len(name) > 5 }))
	}
}
