package facade

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/facade/decode"
	"dq/facade/service"
)

// FuzzProduceBody checks that the fast decoder of produce's body agrees with the strict one, and leaves the body as it
// was.
func FuzzProduceBody(f *testing.F) {
	for _, body := range []string{
		`{"topic":"T","producer_id":0,"message":"INFO"}`,
		` { "message" : "" , "topic" : "ü" , "producer_id" : "7" } `,
		`{"topic":"T","producer_id":0,"message":"a\nb"}`,
		`{"topic":1,"producer_id":0,"message":"x"}`,
		`{"topic":"T","topic":"T","message":"x"}`,
		`{"topic":"T","producer_id":01,"message":"x"}`,
		`{"topic":"T","producer_id":-1,"message":"x"}`,
		"{\"topic\":\"\xff\",\"producer_id\":0,\"message\":\"x\"}",
		`{"topic":"T","producer_id":99999999999999999999,"message":"x"}`,
		`{"topic":"T","producer_id":0,"message":"x"}x`,
		`{}`,
		`null`,
		``,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)

		got, err := decodeProduce(body)

		require.Equal(t, before, body)
		var in struct {
			Topic      *string     `json:"topic"`
			ProducerID *service.ID `json:"producer_id"`
			Message    *string     `json:"message"`
		}
		strict := decode.JSON(body, &in)
		if err != nil {
			assert.NotEqual(t, internalProblem.code, problemOf(err).code)
			assert.True(t, strict != nil || in.Topic == nil || in.ProducerID == nil || in.Message == nil, "%v", err)
			return
		}
		require.NoError(t, strict)
		assert.Equal(t, *in.Topic, got.topic)
		assert.Equal(t, *in.ProducerID, got.producer)
		assert.Equal(t, *in.Message, string(got.message))
	})
}

// FuzzMessages checks that no messages that a client sends are reported as a failure of the broker, and that those that
// are decoded pass all checks.
func FuzzMessages(f *testing.F) {
	for _, body := range []string{
		`[{"data":"a","key":"k","headers":{"A":"b"},"ttl":"1s"},{"data_base64":"/w==","delay":"1h"}]`,
		"{\"data\":\"a\"}\n{\"data\":\"b\"}\n",
		`[{"data":"a","deliver_at":"2026-01-31T12:00:00Z","idempotency_key":"i","content_type":"text/plain"}]`,
		`[{}]`,
		`[null]`,
		`null`,
		`[`,
		`[{"data":1}]`,
		`[{"data":"a","data_base64":""}]`,
		`[{"data":"a","ttl":"1ms"}]`,
		`[{"data":"a","headers":{"Nats-A":"b"}}]`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		array, err := decodeArray(body)
		if err != nil {
			assert.NotEqual(t, internalProblem.code, problemOf(err).code, "%v", err)
		}
		lines, err := decodeLines(body)
		if err != nil {
			assert.NotEqual(t, internalProblem.code, problemOf(err).code, "%v", err)
		}
		for _, d := range append(array, lines...) {
			require.NoError(t, checkDraft(&d))
		}
	})
}

// FuzzStart checks the decoders of single values.
func FuzzStart(f *testing.F) {
	texts := []string{"first", "new", "1", "0", "18446744073709551615", "-1", "2026-01-31T12:00:00Z", "+1", ""}
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if start, err := service.ParseStart(text); err == nil {
			assert.False(t, start.New && start.Sequence > 0)
		}
		id, err := service.ParseID(text)
		if err == nil && id.Possible() {
			assert.Equal(t, text, id.Text)
		}
		if err := checkConsumerName(text); err != nil {
			assert.Equal(t, "invalid_field", problemOf(err).code)
		}
	})
}
