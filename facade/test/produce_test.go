package test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker"
	"dq/cmd/dq/broker/brokertest"
)

func TestProduce_JSONThatIsNotCalledJSONIsRefused(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	messages := []string{
		`[{"data":"a"},{"data":"b"}]`, ` [ {"data":"a","key":"k"} ]`, `{"data":"a"}`, "{\n\"data_base64\": \"YQ==\"\n}",
		"{\"data\":\"a\"}\n{\"data\":\"b\"}\n", "\ufeff[{\"data\":\"a\"}]",
	}
	others := []string{
		`[]`, `[1]`, `{}`, `{"key":"k"}`, `{"data":"a","level":"info"}`, `[{"data":"a"}`, `{"data":"a"} and more`, "data=a",
	}

	for _, kind := range []string{"", "application/x-www-form-urlencoded", "Text/Plain;charset=UTF-8"} {
		var headers []string
		if kind != "" {
			headers = []string{"Content-Type", kind}
		}
		for _, body := range messages {
			r := a.do(http.MethodPost, path("T", "messages"), body, headers...)
			p := r.refuses(http.StatusUnsupportedMediaType, "content_type_needed")
			assert.Contains(t, p.Detail, "Content-Type: application/json")
		}
		for _, body := range others {
			a.do(http.MethodPost, path("T", "messages"), body, headers...).is(http.StatusCreated)
		}
		a.do(http.MethodPost, path("T", "messages")+"?raw=true", messages[0], headers...).is(http.StatusCreated)
	}
}

func TestProduce_RawBodyComesBackByteForByte(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T")
		decoded, raw := a.register("T"), a.register("T")
		tests := []struct{ contentType, kept, data, query string }{
			{data: "text"},
			{contentType: "text/plain; charset=utf-8", kept: "text/plain; charset=utf-8", data: "ünï\n"},
			{contentType: "application/octet-stream", kept: "application/octet-stream", data: everyByte},
			{contentType: "image/png", kept: "image/png", data: "\x89PNG\r\n\x1a\n\x00"},
			{contentType: "application/x-www-form-urlencoded", data: "what curl -d sends"},
			{contentType: "application/json", kept: "application/json", data: `{"any":"json"} `, query: "?raw=true"},
			{contentType: "application/vnd.api+json", kept: "application/vnd.api+json", data: `"a type of its own"`},
			{contentType: "application/x-ndjson", kept: "application/x-ndjson", data: "{}\n{}\n", query: "?raw=true"},
			{contentType: "text/plain", kept: "text/plain"},
		}
		for i, test := range tests {
			headers := []string{"Dq-Key", "k ü", "Dq-Header-Trace", "a, b;c=\"d\"", "Dq-Header-X-Empty", ""}
			if test.contentType != "" {
				headers = append(headers, "Content-Type", test.contentType)
			}

			r := a.do(http.MethodPost, path("T", "messages")+test.query, test.data, headers...)

			receipts := r.is(http.StatusCreated).receipts()
			require.Len(t, receipts, 1)
			assert.EqualValues(t, i+1, receipts[0].Sequence)

			m := decoded.fetch()[0]
			assert.Equal(t, test.data, m.text())
			assert.Equal(t, test.kept, m.ContentType)
			assert.Equal(t, "k ü", m.Key)
			assert.Equal(t, map[string]string{"Trace": "a, b;c=\"d\"", "X-Empty": ""}, m.Headers)
			assert.WithinDuration(t, receipts[0].Time, m.Time, time.Minute)
			assert.Equal(t, receipts[0].Sequence, m.Sequence)

			fetched := raw.post("fetch?raw=true", nil)
			read := a.get(path("T", "messages", m.Sequence) + "?raw=true")
			for _, r := range []response{fetched, read} {
				isRaw(t, r.is(http.StatusOK), m)
			}
		}
		raw.post("fetch?raw=true", nil).is(http.StatusNoContent)
	})
}

// isRaw fails the test unless a raw answer carries m, which has the headers of TestProduce_RawBodyComesBackByteForByte.
func isRaw(t *testing.T, raw response, m message) {
	t.Helper()
	contentType := m.ContentType
	if contentType == "" {
		contentType = "application/octet-stream"
	}

	assert.Equal(t, m.text(), raw.body)
	assert.Equal(t, contentType, raw.header.Get("Content-Type"))
	assert.Equal(t, "k ü", raw.header.Get("Dq-Key"))
	assert.Equal(t, "a, b;c=\"d\"", raw.header.Get("Dq-Header-Trace"))
	assert.Equal(t, []string{""}, raw.header.Values("Dq-Header-X-Empty"))
	assert.Equal(t, fmt.Sprint(m.Sequence), raw.header.Get("Dq-Sequence"))
	assert.Equal(t, m.Time.Format(time.RFC3339Nano), raw.header.Get("Dq-Time"))
}

func TestProduce_JSONMessageComesBackUnchanged(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	long := strings.Repeat("x", 200)
	want := []message{
		{Data: new("")},
		{
			Data: new("ünï\x00\n🎉"), Key: "k.>*\n ", ContentType: "text/plain",
			Headers: map[string]string{"a": "1", "B-c": "ü"},
		},
		{DataBase64: []byte(everyByte), Key: long},
		{Data: new("dash"), Key: "-"},
		{Data: new("")},
	}

	a.produce("T", []object{
		{"data": ""},
		{
			"data": "ünï\x00\n🎉", "key": "k.>*\n ", "content_type": "text/plain",
			"headers": object{"a": "1", "B-c": "ü"},
		},
		{"data_base64": []byte(everyByte), "key": long},
		{"data": "dash", "key": "-"},
		{"data_base64": []byte{}},
	})

	got := a.register("T", object{"start": "first"}).fetch("limit=10")
	require.Len(t, got, len(want))
	for i := range want {
		want[i].Sequence, want[i].Time = uint64(i+1), got[i].Time
		var one message
		a.get(path("T", "messages", i+1)).is(http.StatusOK).into(&one)
		assert.Equal(t, want[i], one)
	}
	assert.Equal(t, want, got)
	assert.Equal(t, want, a.browse("T"))
}

func TestProduce_EscapedJSONIsUnescaped(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")

	escaped := `{"data":"\u0000\n\ud83c\udf89","headers":{"a":"\u0031"}}` // the text matters
	a.do(http.MethodPost, path("T", "messages"), escaped, "Content-Type", "application/json").is(http.StatusCreated)

	got := a.browse("T")
	assert.Equal(t, "\x00\n🎉", got[0].text())
	assert.Equal(t, map[string]string{"a": "1"}, got[0].Headers)
}

func TestProduce_FormIsStoredUnchanged(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	const contentType = "multipart/form-data; boundary=zz"
	form := strings.Join([]string{
		"before",
		"--zz", "Content-Disposition: form-data; name=b", "", "1",
		"--zz", "Content-Disposition: form-data; name=a", "Content-Type: x/y", "", "2",
		"--zz--",
		"behind",
	}, "\r\n")
	for i, body := range []string{form, "no form at all"} {
		answer, err := http.Post(a.url+path("T", "messages"), contentType, strings.NewReader(body))
		require.NoError(t, err)
		answer.Body.Close()

		require.Equal(t, http.StatusCreated, answer.StatusCode)
		stored := a.browse("T")[i]
		assert.Equal(t, contentType, stored.ContentType)
		assert.Equal(t, body, *stored.Data)
	}
}

func TestProduce_BatchKeepsItsOrder(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	for name, send := range map[string]func([]object) response{
		"array":  func(batch []object) response { return a.post(path("array", "messages"), batch) },
		"atomic": func(batch []object) response { return a.post(path("atomic", "messages")+"?atomic=true", batch) },
		"lines": func(batch []object) response {
			return a.do(http.MethodPost, path("lines", "messages"), linesOf(t, batch, "\n\n"),
				"Content-Type", "application/x-ndjson; charset=utf-8")
		},
	} {
		a.createTopic(name)
		c := a.register(name)
		for i := range 3 {
			receipts := send(batch(i*500, 500, nil)).is(http.StatusCreated).receipts()

			require.Len(t, receipts, 500)
			for j, r := range receipts {
				require.EqualValues(t, i*500+j+1, r.Sequence)
				require.False(t, r.Duplicate)
				require.WithinDuration(t, time.Now(), r.Time, time.Minute)
			}
		}
		same(t, numbers(0, 1500), c.drain())
	}
}

func TestProduce_RetryWithAnIdempotencyKeyIsADuplicate(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	c := a.register("T")
	const expectLast = "expected_last_sequence=LAST"
	keyed := []object{{"data": "a", "idempotency_key": "a"}, {"data": "b", "idempotency_key": "b"}}
	tests := []struct {
		name, query string
		body        any    // JSON, or a string to send as it is
		key         string // the Idempotency-Key header
	}{
		{name: "raw", body: "raw", key: "k-raw"},
		{name: "field", body: object{"data": "field", "idempotency_key": "k-field"}},
		{name: "header", body: object{"data": "header"}, key: "k-header"},
		{name: "batch", body: batch(0, 3, nil), key: "k-batch"},
		{name: "batch with own keys", body: keyed},
		{name: "atomic batch", query: "?atomic=true", body: batch(0, 3, nil), key: "k-atomic"},
		{name: "expected sequence", query: "?" + expectLast, body: object{"data": "x"}, key: "k-expected"},
		{name: "atomic and expected", query: "?atomic=true&" + expectLast, body: batch(0, 2, nil), key: "k-both"},
	}

	stored := 0
	for _, test := range tests {
		query := strings.ReplaceAll(test.query, "LAST", fmt.Sprint(stored))
		send := func() response {
			var headers []string
			body, isText := test.body.(string)
			if !isText {
				body, headers = jsonOf(t, test.body), []string{"Content-Type", "application/json"}
			}
			if test.key != "" {
				headers = append(headers, "Idempotency-Key", test.key)
			}
			return a.do(http.MethodPost, path("T", "messages")+query, body, headers...)
		}

		first := send().is(http.StatusCreated).receipts()
		stored += len(first)
		for range 2 {
			r := send()
			if !assert.Equal(t, http.StatusOK, r.status, "%s: a retry stores nothing: %s", test.name, r.body) {
				break
			}

			again := r.receipts()
			require.Len(t, again, len(first), test.name)
			for i := range first {
				assert.True(t, again[i].Duplicate, test.name)
				assert.Equal(t, first[i].Sequence, again[i].Sequence, test.name)
			}
		}
	}
	assert.Len(t, c.drain(), stored)
}

func TestProduce_IdempotencyKeyIsThatOfAMessageInATopic(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	a.createTopic("U")
	a.produce("T", object{"data": "a", "idempotency_key": "a"})

	some := a.post(path("T", "messages"), []object{
		{"data": "new", "idempotency_key": "n"},
		{"data": "old", "idempotency_key": "a"},
	}).is(http.StatusCreated).receipts()
	other := a.produce("U", object{"data": "x", "idempotency_key": "a"})

	assert.False(t, some[0].Duplicate)
	assert.True(t, some[1].Duplicate)
	assert.False(t, other[0].Duplicate, "another topic, another key")
}

func TestProduce_IdempotencyKeyIsForgottenAfterTheWindow(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T", object{"dedup_window": "200ms"})
	isDuplicate := func() bool { return a.produce("T", object{"data": "x", "idempotency_key": "k"})[0].Duplicate }

	require.False(t, isDuplicate())

	require.Eventually(t, func() bool { return !isDuplicate() }, 20*time.Second, 50*time.Millisecond)
}

func TestProduce_AtomicBatchIsStoredWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T", object{"max_message_bytes": 1000})
		a.createTopic("full", object{"max_messages": 3, "when_full": "refuse_new"})
		a.produce("T", object{"data": "0", "idempotency_key": "old"})
		a.fill("full", 0, 1)
		one, three, large := object{"data": "1"}, object{"data": "3"}, object{"data": strings.Repeat("x", 1001)}
		used := object{"data": "2", "idempotency_key": "old"}
		tests := []struct {
			name, topic string
			batch       []object
			status      int
			code        string
		}{
			{
				name: "a message that is not valid", topic: "T", batch: []object{one, {"data": "2", "ttl": "1ms"}},
				status: 400, code: "invalid_field",
			},
			{
				name: "a message that is too large", topic: "T", batch: []object{one, large, three},
				status: 413, code: "message_too_large",
			},
			{
				name: "the last is too large", topic: "T", batch: []object{one, large},
				status: 413, code: "message_too_large",
			},
			{
				name: "a key that was used", topic: "T", batch: []object{one, used, three},
				status: 409, code: "duplicate_batch",
			},
			{
				name: "a key twice", topic: "T", batch: batch(1, 2, object{"idempotency_key": "k"}),
				status: 409, code: "duplicate_batch",
			},
			{
				name: "a delayed message", topic: "T", batch: []object{one, {"data": "2", "delay": "1h"}},
				status: 422, code: "invalid_batch",
			},
			{name: "no room for all", topic: "full", batch: batch(1, 3, nil), status: 429, code: "topic_full"},
			{name: "no such topic", topic: "none", batch: batch(1, 2, nil), status: 404, code: "topic_not_found"},
			{name: "no message", topic: "T", batch: []object{}, status: 422, code: "invalid_batch"},
		}
		atomic := func(topic string, batch []object) response {
			return a.post(path(topic, "messages")+"?atomic=true", batch)
		}

		for _, test := range tests {
			r := atomic(test.topic, test.batch)
			if assert.Equal(t, test.status, r.status, "%s: %s", test.name, r.body) {
				r.refuses(test.status, test.code)
			}
		}
		assert.Equal(t, []string{"0"}, textsOf(a.browse("T")))
		assert.Equal(t, []string{"0"}, textsOf(a.browse("full")))

		keyed := []object{{"data": "1", "key": "a"}, {"data": "2", "key": "b", "idempotency_key": "k"}}
		atomic("T", keyed).is(http.StatusCreated)
		atomic("full", batch(1, 2, nil)).is(http.StatusCreated)

		assert.Equal(t, numbers(0, 3), textsOf(a.browse("T")))
	})
}

func TestProduce_PartialBatchSaysWhatBecameOfEachMessage(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T", object{"max_message_bytes": 1000})
	a.createTopic("full", object{"max_messages": 1, "when_full": "refuse_new"})
	large := object{"data": strings.Repeat("x", 1001)}

	tooLarge := a.post(path("T", "messages"), []object{{"data": "1"}, large, {"data": "3"}})
	full := a.post(path("full", "messages"), batch(1, 2, nil))

	p := tooLarge.refuses(http.StatusRequestEntityTooLarge, "message_too_large")
	require.Len(t, p.Messages, 3)
	assert.EqualValues(t, 1, p.Messages[0].Sequence)
	assert.Equal(t, "message_too_large", p.Messages[1].Code)
	assert.NotEmpty(t, p.Messages[1].Detail)
	assert.Zero(t, p.Messages[1].Sequence)
	assert.EqualValues(t, 2, p.Messages[2].Sequence)
	assert.Contains(t, p.Detail, "2 of 3")

	p = full.refuses(http.StatusTooManyRequests, "topic_full")
	assert.EqualValues(t, 1, p.Messages[0].Sequence)
	assert.Equal(t, "topic_full", p.Messages[1].Code)
}

func TestProduce_ExpectedSequenceMustBeTheLast(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T")
	expecting := func(n int, messages any) response {
		return a.post(fmt.Sprintf("%s?expected_last_sequence=%d", path("T", "messages"), n), messages)
	}
	atomic := func(n int, messages any) response {
		return a.post(fmt.Sprintf("%s?expected_last_sequence=%d&atomic=true", path("T", "messages"), n), messages)
	}

	p := expecting(1, object{"data": "x"}).refuses(http.StatusConflict, "wrong_last_sequence")
	require.NotNil(t, p.LastSequence, "it says what it is, even if it is 0")
	assert.EqualValues(t, 0, *p.LastSequence)
	expecting(0, object{"data": "1"}).is(http.StatusCreated)
	p = expecting(0, object{"data": "x"}).refuses(http.StatusConflict, "wrong_last_sequence")
	assert.EqualValues(t, 1, *p.LastSequence)

	atomic(0, batch(2, 2, nil)).refuses(http.StatusConflict, "wrong_last_sequence")
	atomic(1, batch(2, 2, nil)).is(http.StatusCreated)
	expecting(3, batch(4, 2, nil)).refuses(http.StatusUnprocessableEntity, "invalid_batch")
	atomic(3, batch(4, 1, nil)).is(http.StatusCreated)
	expecting(4, object{"data": "x", "delay": "1h"}).refuses(http.StatusUnprocessableEntity, "invalid_batch")

	assert.Equal(t, numbers(1, 4), textsOf(a.browse("T")))
}

func TestProduce_OneOfTwoWithTheSameExpectedSequenceWins(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.createTopic("T")
	for round := range 20 {
		statuses := make(chan int, 2)
		for _, a := range []api{first, second} {
			go func() {
				expecting := fmt.Sprintf("%s?expected_last_sequence=%d", path("T", "messages"), round)
				statuses <- a.post(expecting, object{"data": "x"}).status
			}()
		}

		assert.ElementsMatch(t, []int{http.StatusCreated, http.StatusConflict}, []int{<-statuses, <-statuses})
	}
}

func TestProduce_MessageGoesAfterItsTTL(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.createTopic("T")
		c, keyed := a.register("T"), a.register("T", object{"key": "k"})

		a.produce("T", []object{
			{"data": "first"},
			{"data": "short", "ttl": "1s", "key": "k"},
			{"data": "long", "ttl": "1h", "key": "k"},
			{"data": "none"},
		})
		a.do(http.MethodPost, path("T", "messages"), "raw", "Dq-Ttl", "1s").is(http.StatusCreated)

		require.Eventually(t, func() bool {
			return slices.Equal([]string{"first", "long", "none"}, textsOf(a.browse("T")))
		}, 20*time.Second, 50*time.Millisecond)
		a.get(path("T", "messages", 2)).refuses(http.StatusNotFound, "message_not_found")
		assert.EqualValues(t, 3, c.describe().Size, "it is not counted any more")
		assert.EqualValues(t, 1, keyed.describe().Size)
		assert.Equal(t, []string{"first", "long", "none"}, c.drain())
		assert.Equal(t, []string{"long"}, keyed.drain())
	})
}

func TestProduce_BadCallsAreRefused(t *testing.T) {
	t.Parallel()
	refuseAll(t, func(_ fixture) []refusal {
		return []refusal{
			{
				name: "produce to nothing", call: "POST " + noTopic + "/messages", body: `{"data":""}`,
				status: 404, code: "topic_not_found", detail: "none",
			},
			{name: "produce nothing", call: "POST " + messagesT, status: 400, code: "invalid_json", detail: "JSON"},
			{
				name: "produce null", call: "POST " + messagesT, body: `null`,
				status: 400, code: "invalid_json", detail: "object",
			},
			{
				name: "produce an empty list", call: "POST " + messagesT, body: `[]`,
				status: 422, code: "invalid_batch", detail: "no message",
			},
			{
				name: "produce a list of null", call: "POST " + messagesT, body: `[null]`,
				status: 400, code: "missing_field", detail: "message 1",
			},
			{
				name: "produce without data", call: "POST " + messagesT, body: `{"key":"k"}`,
				status: 400, code: "missing_field", detail: "data",
			},
			{
				name: "produce a number", call: "POST " + messagesT, body: `{"data":1}`,
				status: 400, code: "invalid_field", detail: "data",
			},
			{
				name: "produce data twice", call: "POST " + messagesT, body: `{"data":"","data_base64":""}`,
				status: 400, code: "invalid_field", detail: "data_base64",
			},
			{
				name: "no base64", call: "POST " + messagesT, body: `{"data_base64":"%%"}`,
				status: 400, code: "invalid_field", detail: "data_base64",
			},
			{
				name: "an unknown field", call: "POST " + messagesT, body: `{"data":"","keys":"k"}`,
				status: 400, code: "invalid_field", detail: "keys",
			},
			{
				name: "a long key", call: "POST " + messagesT, body: `{"data":"","key":"` + tooLong + `"}`,
				status: 400, code: "invalid_field", detail: "240",
			},
			{
				name: "a reserved header", call: "POST " + messagesT, body: `{"data":"","headers":{"nats-ttl":"1s"}}`,
				status: 400, code: "invalid_field", detail: "reserved",
			},
			{
				name: "a content type as a header", call: "POST " + messagesT,
				body:   `{"data":"","headers":{"content-type":"a/b"}}`,
				status: 400, code: "invalid_field", detail: "content_type",
			},
			{
				name: "a header without a name", call: "POST " + messagesT, body: `{"data":"","headers":{"":"v"}}`,
				status: 400, code: "invalid_field", detail: "headers",
			},
			{
				name: "a header with a space", call: "POST " + messagesT, body: `{"data":"","headers":{"a b":"v"}}`,
				status: 400, code: "invalid_field", detail: "headers",
			},
			{
				name: "a header with a line break", call: "POST " + messagesT,
				body:   `{"data":"","headers":{"a":"v\r\nb: c"}}`,
				status: 400, code: "invalid_field", detail: "control",
			},
			{
				name: "too many headers", call: "POST " + messagesT,
				body:   `{"data":"","headers":{"a":"` + strings.Repeat("x", 17_000) + `"}}`,
				status: 400, code: "invalid_field", detail: "16384",
			},
			{
				name: "a content type with a line break", call: "POST " + messagesT,
				body:   `{"data":"","content_type":"a\nb"}`,
				status: 400, code: "invalid_field", detail: "content_type",
			},
			{
				name: "a long idempotency key", call: "POST " + messagesT,
				body:   `{"data":"","idempotency_key":"` + tooLong + `"}`,
				status: 400, code: "invalid_field", detail: "256",
			},
			{
				name: "a long idempotency key in the header", call: "POST " + messagesT, body: `[{"data":""}]`,
				headers: []string{"Idempotency-Key", tooLong},
				status:  400, code: "invalid_field", detail: "256",
			},
			{
				name: "a TTL in parts of seconds", call: "POST " + messagesT, body: `{"data":"","ttl":"1500ms"}`,
				status: 400, code: "invalid_field", detail: "ttl",
			},
			{
				name: "a TTL beyond all times", call: "POST " + messagesT, body: `{"data":"","ttl":"2200000h"}`,
				status: 400, code: "invalid_field", detail: "876000h",
			},
			{
				name: "a header in two cases", call: "POST " + messagesT,
				body:   `{"data":"","headers":{"a":"1","A":"2"}}`,
				status: 400, code: "invalid_field", detail: "twice",
			},
			{
				name: "a reserved idempotency key", call: "POST " + messagesT,
				body:   `{"data":"","idempotency_key":"dq-delayed-1"}`,
				status: 400, code: "invalid_field", detail: "dq-",
			},
			{
				name: "a negative TTL", call: "POST " + messagesT, body: `{"data":"","ttl":"-1s"}`,
				status: 400, code: "invalid_field", detail: "ttl",
			},
			{
				name: "a negative delay", call: "POST " + messagesT, body: `{"data":"","delay":"-1s"}`,
				status: 400, code: "invalid_field", detail: "delay",
			},
			{
				name: "a delay and a time", call: "POST " + messagesT,
				body:   `{"data":"","delay":"1s","deliver_at":"2100-01-01T00:00:00Z"}`,
				status: 400, code: "invalid_field", detail: "deliver_at",
			},
			{
				name: "a time far away", call: "POST " + messagesT,
				body:   `{"data":"","deliver_at":"2999-01-01T00:00:00Z"}`,
				status: 400, code: "invalid_field", detail: "deliver_at",
			},
			{
				name: "a long delay", call: "POST " + messagesT, body: `{"data":"","delay":"9000h"}`,
				status: 400, code: "invalid_field", detail: "8760h",
			},
			{
				name: "no time", call: "POST " + messagesT, body: `{"data":"","deliver_at":"tomorrow"}`,
				status: 400, code: "invalid_field", detail: "deliver_at",
			},
			{
				name: "a bad line", call: "POST " + messagesT, body: "{\"data\":\"\"}\n\n{\"data\":1}",
				headers: []string{"Content-Type", "application/x-ndjson"},
				status:  400, code: "invalid_field", detail: "line 3",
			},
			{
				name: "no line", call: "POST " + messagesT, body: "\n\n",
				headers: []string{"Content-Type", "application/x-ndjson"},
				status:  422, code: "invalid_batch", detail: "no message",
			},
			{
				name: "a raw message with no TTL", call: "POST " + messagesT, body: "x",
				headers: []string{"Content-Type", "a/b", "Dq-Ttl", "soon"},
				status:  400, code: "invalid_field", detail: "Dq-Ttl",
			},
			{
				name: "a raw message with no time", call: "POST " + messagesT, body: "x",
				headers: []string{"Content-Type", "a/b", "Dq-Deliver-At", "soon"},
				status:  400, code: "invalid_field", detail: "Dq-Deliver-At",
			},
			{
				name: "a raw message with a reserved header", call: "POST " + messagesT, body: "x",
				headers: []string{"Content-Type", "a/b", "Dq-Header-Nats-Msg-Id", "1"},
				status:  400, code: "invalid_field", detail: "reserved",
			},
			{
				name: "neither atomic nor not", call: "POST " + messagesT + "?atomic=maybe", body: `{"data":""}`,
				status: 400, code: "invalid_field", detail: "atomic",
			},
			{
				name: "an expected word", call: "POST " + messagesT + "?expected_last_sequence=x", body: `{"data":""}`,
				status: 400, code: "invalid_field", detail: "expected_last_sequence",
			},
			{
				name: "an expected sequence for many", call: "POST " + messagesT + "?expected_last_sequence=3",
				body:   `[{"data":""},{"data":""}]`,
				status: 422, code: "invalid_batch", detail: "atomic",
			},
			{
				name: "another sequence", call: "POST " + messagesT + "?expected_last_sequence=2", body: `{"data":""}`,
				status: 409, code: "wrong_last_sequence", detail: "3",
			},
		}
	})
}
