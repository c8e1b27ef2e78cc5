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
		"0", "42", `{"position":1,"leases":[{"s":1,"n":2,"u":3}],"epoch":4}`,
		`{"position":1,"gone":true}`, "{", "", "-1",
	} {
		f.Add([]byte(value), int64(0), "0-0-1-1")
	}
	f.Fuzz(func(t *testing.T, value []byte, consumer int64, text string) {
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
		assert.Len(t, back.Leases, len(c.Leases))
		if i := c.find(consumer, text); i >= 0 {
			assert.Equal(t, text, token(consumer, c.Epoch, c.Leases[i]))
		}
		c.wake()
		c.paused(time.Now())
	})
}

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
