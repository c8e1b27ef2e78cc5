package jetstream

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzCursor checks that a cursor that was read encodes to one that reads the same.
func FuzzCursor(f *testing.F) {
	for _, value := range []string{
		"0", "42", `{"position":1,"leases":[{"s":1,"n":2,"u":3}],"epoch":4}`, `{"position":1,"stream":2}`,
		`{"position":1,"gone":true}`, "{", "", "-1",
	} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		c, err := decodeCursor(value)
		if err != nil {
			return
		}
		again, err := c.encode()
		require.NoError(t, err)
		back, err := decodeCursor(again)
		require.NoError(t, err)
		assert.Equal(t, c.Position, back.Position)
		assert.Equal(t, c.Gone, back.Gone)
		assert.Equal(t, c.Stream, back.Stream)
		c.paused(time.Now())
	})
}

// FuzzToken checks that no two texts are the same token, and that no text breaks its
// reader.
func FuzzToken(f *testing.F) {
	for _, text := range []string{
		"0-0-1-1-1-zik0zj-0-1", "7-1-2-3-4-5-6-7", "0-0-1-1", "", "-1-0-0-0-0-0-0-0", "00-0-0-0-0-0-0-0",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, ok := parseToken(text)
		if ok {
			assert.Equal(t, text, token.String())
		}
		parseAckSubject(text)
	})
}

// FuzzAckJournal checks that a message of the journal of acknowledgements which was read
// is written the same way again.
func FuzzAckJournal(f *testing.F) {
	set := &ackSet{consumer: 1, generation: 2}
	f.Add(ackRecord(set, 0, []uint64{1, 2, 3, 9}))
	f.Add(ackRecord(set, 40, []uint64{42, 43, 4711}))
	f.Add([]byte{2, 0, 0, 2, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		first, second := newTestAckJournal(), newTestAckJournal()
		if len(data) > 16 || first.read(data) != nil {
			return
		}
		for _, set := range first.all() {
			for _, record := range set.records() {
				require.NoError(t, second.read(record))
			}
			again := second.set(set.consumer, set.generation)
			assert.Equal(t, set.floor, again.floor)
			assert.Equal(t, set.between(0, maxSequence), again.between(0, maxSequence))
		}
	})
}

func newTestAckJournal() *ackJournal { return &ackJournal{sets: make(map[int64]*ackSet)} }

// FuzzAnswer checks that the quick reader of confirmations takes no answer for a
// success that JSON does not decode as the same success.
func FuzzAnswer(f *testing.F) {
	for _, data := range []string{
		`{"stream":"dq_T","seq":42}`,
		`{"error":{"code":503,"err_code":10077,"description":"full"},"stream":"dq_T","seq":0}`,
		`{"stream":"dq_T","seq":3,"duplicate": true}`,
		`{"stream":"dq_T","seq":3,"batch":"b","count":2}`,
		`{}`, ``, `{"stream":"a","seq":1}}`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a := decodeAnswer(&nats.Msg{Data: data})
		if a.err != nil {
			return
		}
		var out struct {
			Error    *struct{ Code int } `json:"error"`
			Sequence uint64              `json:"seq"`
		}
		if json.Unmarshal(data, &out) == nil {
			assert.Nil(t, out.Error)
			assert.Equal(t, out.Sequence, a.sequence)
		}
	})
}
