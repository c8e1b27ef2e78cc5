package jetstream_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"dq/jetstream"
)

func FuzzEncodeNameIsReversible(f *testing.F) {
	for _, name := range []string{"", "T1", "T-1_x", "a.b", "a b*>", "=", "=2E", "=2e", "ünï 主题", "\xff\x00/\\"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		encoded := jetstream.EncodeName(name)
		if strings.ContainsFunc(encoded, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=", r)
		}) {
			t.Fatalf("%q is encoded as %q, which the engine might refuse", name, encoded)
		}
		if decoded, ok := jetstream.DecodeName(encoded); !ok || decoded != name {
			t.Fatalf("%q is encoded as %q and decoded as %q, %v", name, encoded, decoded, ok)
		}
	})
}

func FuzzDecodeNameTakesOnlyWhatEncodeNameMakes(f *testing.F) {
	for _, word := range []string{"", "T1", "a=2Eb", "a=2eb", "a.b", "=", "=4", "=41", "=ZZ", "==3D", "= 1"} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		if name, ok := jetstream.DecodeName(word); ok && jetstream.EncodeName(name) != word {
			t.Fatalf("%q is decoded as %q, which is encoded as %q", word, name, jetstream.EncodeName(name))
		}
	})
}

func TestNames_DecodeRefusesWordsThatEncodeNeverMakes(t *testing.T) {
	t.Parallel()

	for _, word := range []string{"a.b", "a=2eb", "=", "=4", "=41", "=ZZ", "= 1"} {
		_, ok := jetstream.DecodeName(word)

		assert.False(t, ok, "%q", word)
	}
}
