package engine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// kill copies the directory of a running engine: what is there after its process was killed.
func kill(t *testing.T, dir string) (killed string) {
	t.Helper()
	killed = t.TempDir()
	require.NoError(t, os.CopyFS(killed, os.DirFS(dir)))
	return killed
}

// flip changes one bit of a file.
func flip(t *testing.T, path string, at int) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[at] ^= 4
	require.NoError(t, os.WriteFile(path, data, 0o600))
}

// blockOf returns the first block of a stream.
func blockOf(dir, stream string) string {
	return filepath.Join(streamDir(dir, stream), "msgs", "1.blk")
}

// offset returns where text is in a file.
func offset(t *testing.T, path, text string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(data, []byte(text))
	require.GreaterOrEqual(t, at, 0)
	return at
}

// check checks the files of a stream as a start does after a kill.
func check(t *testing.T, dir, stream string) *checker {
	t.Helper()
	c := &checker{dir: streamDir(dir, stream), run: lastRun{end: endKilled}}
	require.NoError(t, c.check())
	return c
}

// texts returns the messages of a stream by their sequences.
func texts(t *testing.T, s *Server, stream string) map[uint64]string {
	t.Helper()
	found, err := connect(t, s).Stream(t.Context(), stream)
	require.NoError(t, err)
	state := found.CachedInfo().State
	all := make(map[uint64]string)
	for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
		if m, err := found.GetMsg(t.Context(), seq); err == nil {
			all[seq] = string(m.Data)
		}
	}
	return all
}

func TestDamage_EachFlippedBitOfABlockIsFound(t *testing.T) {
	t.Parallel()
	const name = TopicPrefix + "T"
	dir := t.TempDir()
	js := connect(t, start(t, dir))
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{"dq.T.*"}})
	require.NoError(t, err)
	for _, m := range []*nats.Msg{
		{Subject: "dq.T.-", Data: []byte(" no checksum covers the length of the subject")},
		{Subject: "dq.T.key", Data: []byte("with headers"), Header: nats.Header{"A": {"b"}}},
		{Subject: "dq.T.-"},
	} {
		_, err := js.PublishMsg(t.Context(), m)
		require.NoError(t, err)
	}
	require.NoError(t, stream.DeleteMsg(t.Context(), 2))
	data, err := os.ReadFile(blockOf(dir, name))
	require.NoError(t, err)
	sound := newBlockReader(name, 1, data).read()

	var missed []string
	for at := range data {
		for bit := range 8 {
			data[at] ^= 1 << bit
			content := newBlockReader(name, 1, data).read()
			data[at] ^= 1 << bit
			if len(content.gaps) != 1 || content.records+1 < sound.records {
				missed = append(missed, fmt.Sprintf("byte %d bit %d", at, bit))
			}
		}
	}

	assert.Empty(t, sound.gaps)
	assert.Equal(t, 4, sound.records, "three messages and a deletion")
	assert.Empty(t, missed)
}

func TestDamage_DamagedStreamIsSetAsideAndOthersAreServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	fill(t, s, "S", "one", "two", "three", "four")
	fill(t, s, "Other", "one")
	killed := kill(t, dir)
	at := offset(t, blockOf(killed, "S"), "two")
	flip(t, blockOf(killed, "S"), at)

	s = start(t, killed)

	file := filepath.Join(damagedDir, "S", "msgs", "1.blk")
	want := &StreamDamage{Stream: "S", Files: []FileDamage{
		{File: file, Problem: "the checksum of a record is wrong", At: at - recordHead - 1, First: 2, Last: 2, Messages: 1},
	}}
	assert.Equal(t, want, s.Damaged("S"))
	assert.Equal(t, []*StreamDamage{want}, s.AllDamaged())
	assert.Nil(t, s.Damaged("Other"))
	assert.Equal(t, map[uint64]string{1: "one"}, texts(t, s, "Other"))
	assert.FileExists(t, filepath.Join(killed, file), "nothing is removed")

	s.Shutdown()
	s = start(t, killed)
	assert.Equal(t, want, s.Damaged("S"), "the next start knows it, too")
}

func TestDamage_AcceptedLosesTheDamagedMessageOnly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text string
		left map[uint64]string
	}{
		{text: "one", left: map[uint64]string{2: "two", 3: "three"}},
		{text: "two", left: map[uint64]string{1: "one", 3: "three"}},
		{text: "three", left: map[uint64]string{1: "one", 2: "two"}},
	} {
		t.Run(test.text, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := start(t, dir)
			fill(t, s, "S", "one", "two", "three")
			killed := kill(t, dir)
			flip(t, blockOf(killed, "S"), offset(t, blockOf(killed, "S"), test.text))
			damaged, err := os.ReadFile(blockOf(killed, "S"))
			require.NoError(t, err)
			start(t, killed).Shutdown() // sets it aside

			opts := options(killed)
			opts.AcceptDamage = []string{"S"}
			s, err = Start(opts)
			require.NoError(t, err)
			defer s.Shutdown()

			assert.Nil(t, s.Damaged("S"))
			assert.Equal(t, test.left, texts(t, s, "S"))
			next, err := connect(t, s).Publish(t.Context(), "S", []byte("four"))
			require.NoError(t, err)
			assert.EqualValues(t, 4, next.Sequence, "no sequence is given out twice")
			kept, err := filepath.Glob(filepath.Join(killed, damagedDir, "S.*", "msgs", "1.blk"))
			require.NoError(t, err)
			require.Len(t, kept, 1)
			was, err := os.ReadFile(kept[0])
			require.NoError(t, err)
			assert.Equal(t, damaged, was)
		})
	}
}

func TestDamage_StreamWithoutWhichNothingWorksStopsTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	fill(t, s, "S", "one", "two")
	s.Shutdown()
	flip(t, blockOf(dir, "S"), offset(t, blockOf(dir, "S"), "one"))
	opts := options(dir)
	opts.Required = map[string]string{"S": "the ids"}

	_, err := Start(opts)
	opts.AcceptDamage = []string{"S"}
	accepted, acceptedErr := Start(opts)

	var damaged *DamagedError
	require.ErrorAs(t, err, &damaged)
	for _, part := range []string{"the files of S, which holds the ids", "1.blk", "message 1 is lost", "DQ_ACCEPT_DAMAGE=S"} {
		assert.Contains(t, err.Error(), part)
	}
	require.NoError(t, acceptedErr)
	defer accepted.Shutdown()
	assert.Equal(t, map[uint64]string{2: "two"}, texts(t, accepted, "S"))
}

func TestDamage_EndOfAWriteThatWasKilledIsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	fill(t, s, "S", "one", "two")
	killed := kill(t, dir)
	data, err := os.ReadFile(blockOf(killed, "S"))
	require.NoError(t, err)
	half := len(data)/2 + 25

	require.NoError(t, os.WriteFile(blockOf(killed, "S"), data[:half], 0o600))
	c := check(t, killed, "S")
	s = start(t, killed)

	assert.Empty(t, c.Damage)
	require.Len(t, c.Torn, 1)
	assert.Equal(t, FileDamage{
		File: "msgs/1.blk", Problem: "the last write was cut off", At: len(data) / 2, First: 2, Last: 2, Messages: 1,
	}, c.Torn[0])
	assert.Equal(t, map[uint64]string{1: "one"}, texts(t, s, "S"))
}

func TestDamage_OtherFilesOfAStream(t *testing.T) {
	t.Parallel()
	consumer := filepath.Join("obs", "C")
	for _, test := range []struct {
		name   string
		file   string
		damage func(data []byte) []byte
		served bool
	}{
		{name: "a bit of the settings", file: "meta.inf", damage: flipMiddle, served: true},
		{name: "a bit of their checksum", file: "meta.sum", damage: flipMiddle, served: true},
		{name: "half of the settings", file: "meta.inf", damage: firstHalf},
		{name: "settings of another stream", file: "meta.inf", damage: func([]byte) []byte { return []byte(`{"name":"T"}`) }},
		{name: "a bit of the index", file: "msgs/index.db", damage: flipMiddle, served: true},
		{name: "half of the index", file: "msgs/index.db", damage: firstHalf, served: true},
		{name: "a bit of a consumer's settings", file: consumer + "/meta.inf", damage: flipMiddle, served: true},
		{name: "half of a consumer's state", file: consumer + "/o.dat", damage: firstHalf},
		{name: "an empty block", file: "msgs/1.blk", damage: func([]byte) []byte { return nil }},
		{name: "a shorter block", file: "msgs/1.blk", damage: firstHalf},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := start(t, dir)
			fill(t, s, "S", "one", "two")
			c, err := connect(t, s).CreateConsumer(t.Context(), "S", jetstream.ConsumerConfig{Durable: "C"})
			require.NoError(t, err)
			m, err := c.Next()
			require.NoError(t, err)
			require.NoError(t, m.DoubleAck(t.Context()))
			s.Shutdown()
			path := filepath.Join(streamDir(dir, "S"), test.file)
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, test.damage(data), 0o600))

			s = start(t, dir)

			if test.served {
				assert.Nil(t, s.Damaged("S"))
				assert.Equal(t, map[uint64]string{1: "one", 2: "two"}, texts(t, s, "S"))
				return
			}
			damage := s.Damaged("S")
			require.NotNil(t, damage)
			assert.True(t, strings.HasSuffix(damage.Files[0].File, test.file), damage.Files[0].File)
		})
	}
}

func flipMiddle(data []byte) []byte { data[len(data)/2] ^= 4; return data }
func firstHalf(data []byte) []byte  { return data[:len(data)/2] }

func TestDamage_DamageSinceAStopInOrderIsFoundToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	fill(t, s, "S", "one", "two")
	s.Shutdown()
	flip(t, blockOf(dir, "S"), offset(t, blockOf(dir, "S"), "two"))

	whole, err := CheckDir(dir, nil)
	require.NoError(t, err)
	s = start(t, dir)

	require.Len(t, whole.Streams, 1)
	require.Len(t, whole.Streams[0].Damage, 1)
	assert.EqualValues(t, 2, whole.Streams[0].Damage[0].First)
	require.NotNil(t, s.Damaged("S"))
	assert.EqualValues(t, 1, s.Damaged("S").Messages())
}
