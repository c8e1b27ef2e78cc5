package test

import (
	"encoding/base64"
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

func TestProduce_FormIsStoredUnchanged(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	const kind = "multipart/form-data; boundary=zz"
	for i, body := range []string{
		"before\r\n--zz\r\nContent-Disposition: form-data; name=b\r\n\r\n1\r\n--zz\r\nContent-Disposition: form-data; name=a\r\nContent-Type: x/y\r\n\r\n2\r\n--zz--\r\nbehind",
		"no form at all",
	} {
		answer, err := http.Post(a.url+path("T", "messages"), kind, strings.NewReader(body)) //nolint:noctx // short
		require.NoError(t, err)
		answer.Body.Close()
		require.Equal(t, http.StatusCreated, answer.StatusCode)
		stored := a.browse("T")[i]
		assert.Equal(t, kind, stored.ContentType)
		assert.Equal(t, body, *stored.Data)
	}
}

func TestProduce_RawBodyComesBackByteForByte(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.topic("T", "")
		a.consumer("T", `{"name":"json"}`)
		a.consumer("T", `{"name":"raw"}`)
		tests := []struct{ contentType, kept, data, query string }{
			{"", "", "text", ""},
			{"text/plain; charset=utf-8", "text/plain; charset=utf-8", "ünï\n", ""},
			{"application/octet-stream", "application/octet-stream", everyByte, ""},
			{"image/png", "image/png", "\x89PNG\r\n\x1a\n\x00", ""},
			{"application/x-www-form-urlencoded", "", "what curl -d sends", ""},
			{"application/json", "application/json", `{"any":"json"} `, "?raw=true"},
			{"application/vnd.api+json", "application/vnd.api+json", `"a type of its own"`, ""},
			{"application/x-ndjson", "application/x-ndjson", "{}\n{}\n", "?raw=true"},
			{"text/plain", "text/plain", "", ""},
		}
		for i, test := range tests {
			headers := []string{"Dq-Key", "k ü", "Dq-Header-Trace", "a, b;c=\"d\"", "Dq-Header-X-Empty", ""}
			if test.contentType != "" {
				headers = append(headers, "Content-Type", test.contentType)
			}
			r := a.do(http.MethodPost, path("T", "messages")+test.query, test.data, headers...).is(http.StatusCreated).receipts()
			require.Len(t, r, 1)
			assert.EqualValues(t, i+1, r[0].Sequence)

			m := a.fetch("T", "json", "")[0]
			assert.Equal(t, test.data, m.text())
			assert.Equal(t, test.kept, m.ContentType)
			assert.Equal(t, "k ü", m.Key)
			assert.Equal(t, map[string]string{"Trace": "a, b;c=\"d\"", "X-Empty": ""}, m.Headers)
			assert.WithinDuration(t, r[0].Time, m.Time, time.Minute)
			assert.Equal(t, r[0].Sequence, m.Sequence)

			for _, raw := range []response{
				a.post(path("T", "consumers", "raw", "fetch")+"?raw=true", ""),
				a.get(path("T", "messages", r[0].Sequence) + "?raw=true"),
			} {
				raw.is(http.StatusOK)
				want := test.kept
				if want == "" {
					want = "application/octet-stream"
				}
				assert.Equal(t, test.data, raw.body)
				assert.Equal(t, want, raw.header.Get("Content-Type"))
				assert.Equal(t, "k ü", raw.header.Get("Dq-Key"))
				assert.Equal(t, "a, b;c=\"d\"", raw.header.Get("Dq-Header-Trace"))
				assert.Equal(t, []string{""}, raw.header.Values("Dq-Header-X-Empty"))
				assert.Equal(t, fmt.Sprint(r[0].Sequence), raw.header.Get("Dq-Sequence"))
				assert.Equal(t, m.Time.Format(time.RFC3339Nano), raw.header.Get("Dq-Time"))
			}
		}
		a.post(path("T", "consumers", "raw", "fetch")+"?raw=true", "").is(http.StatusNoContent)
	})
}

func TestProduce_JSONMessageComesBackUnchanged(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	long := strings.Repeat("x", 200)
	a.produce("T", fmt.Sprintf(`[
		{"data":""},
		{"data":"ünï\u0000\n\ud83c\udf89","key":"k.>*\n ","content_type":"text/plain","headers":{"a":"1","B-c":"ü"}},
		{"data_base64":"%s","key":"%s"},
		{"data":"dash","key":"-"},
		{"data_base64":""}
	]`, base64.StdEncoding.EncodeToString([]byte(everyByte)), long))
	want := []message{
		{Data: new("")},
		{Data: new("ünï\x00\n🎉"), Key: "k.>*\n ", ContentType: "text/plain", Headers: map[string]string{"a": "1", "B-c": "ü"}},
		{DataBase64: []byte(everyByte), Key: long},
		{Data: new("dash"), Key: "-"},
		{Data: new("")},
	}
	a.consumer("T", `{"name":"c","start":"first"}`)
	got := a.fetch("T", "c", "limit=10")
	browsed := a.get(path("T", "messages")).is(http.StatusOK).messages()
	assert.Equal(t, browsed, got)
	require.Len(t, got, len(want))
	for i := range want {
		want[i].Sequence, want[i].Time = uint64(i+1), got[i].Time
		var one message
		a.get(path("T", "messages", i+1)).is(http.StatusOK).into(&one)
		assert.Equal(t, want[i], one)
	}
	assert.Equal(t, want, got)
}

func TestProduce_BatchKeepsItsOrder(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	lines := strings.NewReplacer("},{", "}\n\n{", "[", "", "]", "")
	for name, send := range map[string]func(string) response{
		"array":  func(batch string) response { return a.post(path("array", "messages"), batch) },
		"atomic": func(batch string) response { return a.post(path("atomic", "messages")+"?atomic=true", batch) },
		"lines": func(batch string) response {
			return a.do(http.MethodPost, path("lines", "messages"), lines.Replace(batch), "Content-Type", "application/x-ndjson; charset=utf-8")
		},
	} {
		a.topic(name, "")
		a.consumer(name, `{"name":"c"}`)
		for i := range 3 {
			receipts := send(batchOf(i*500, 500, "")).is(http.StatusCreated).receipts()
			require.Len(t, receipts, 500)
			for j, r := range receipts {
				require.EqualValues(t, i*500+j+1, r.Sequence)
				require.False(t, r.Duplicate)
				require.WithinDuration(t, time.Now(), r.Time, time.Minute)
			}
		}
		same(t, numbers(0, 1500), a.drain(name, "c"))
	}
}

func TestProduce_RetryWithAnIdempotencyKeyIsADuplicate(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	a.consumer("T", `{"name":"c"}`)
	messages := path("T", "messages")
	jsonType := []string{"Content-Type", "application/json"}
	tests := []struct {
		name, query, body string
		headers           []string
	}{
		{"raw", "", "raw", []string{"Idempotency-Key", "k-raw"}},
		{"field", "", `{"data":"field","idempotency_key":"k-field"}`, jsonType},
		{"header", "", `{"data":"header"}`, append(slices.Clone(jsonType), "Idempotency-Key", "k-header")},
		{"batch", "", batchOf(0, 3, ""), append(slices.Clone(jsonType), "Idempotency-Key", "k-batch")},
		{"batch with own keys", "", `[{"data":"a","idempotency_key":"a"},{"data":"b","idempotency_key":"b"}]`, jsonType},
		{"atomic batch", "?atomic=true", batchOf(0, 3, ""), append(slices.Clone(jsonType), "Idempotency-Key", "k-atomic")},
		{"expected sequence", "?expected_last_sequence=%d", `{"data":"x"}`, append(slices.Clone(jsonType), "Idempotency-Key", "k-expected")},
		{"atomic batch with expected sequence", "?atomic=true&expected_last_sequence=%d", batchOf(0, 2, ""), append(slices.Clone(jsonType), "Idempotency-Key", "k-both")},
	}
	stored := 0
	for _, test := range tests {
		query := test.query
		if strings.Contains(query, "%d") {
			query = fmt.Sprintf(query, stored)
		}
		first := a.do(http.MethodPost, messages+query, test.body, test.headers...).is(http.StatusCreated).receipts()
		stored += len(first)
		for range 2 {
			r := a.do(http.MethodPost, messages+query, test.body, test.headers...)
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
	assert.Len(t, a.drain("T", "c"), stored)

	some := a.post(messages, `[{"data":"new","idempotency_key":"n"},{"data":"old","idempotency_key":"a"}]`).is(http.StatusCreated).receipts()
	assert.False(t, some[0].Duplicate)
	assert.True(t, some[1].Duplicate)
	a.topic("U", "")
	assert.False(t, a.produce("U", `{"data":"x","idempotency_key":"a"}`)[0].Duplicate, "another topic, another key")
}

func TestProduce_IdempotencyKeyIsForgottenAfterTheWindow(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", `{"dedup_window":"200ms"}`)
	const one = `{"data":"x","idempotency_key":"k"}`
	require.False(t, a.produce("T", one)[0].Duplicate)
	require.Eventually(t, func() bool { return !a.produce("T", one)[0].Duplicate }, 20*time.Second, 50*time.Millisecond)
}

func TestProduce_AtomicBatchIsStoredWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.topic("T", `{"max_message_bytes":1000}`)
		a.topic("full", `{"max_messages":3,"when_full":"refuse_new"}`)
		a.produce("T", `{"data":"0","idempotency_key":"old"}`)
		a.fill("full", 0, 1)
		large := strings.Repeat("x", 1001)
		tests := []struct {
			name, topic, batch string
			status             int
			code               string
		}{
			{"a message that is not valid", "T", `[{"data":"1"},{"data":"2","ttl":"1ms"}]`, 400, "invalid_field"},
			{"a message that is too large", "T", `[{"data":"1"},{"data":"` + large + `"},{"data":"3"}]`, 413, "message_too_large"},
			{"the last is too large", "T", `[{"data":"1"},{"data":"` + large + `"}]`, 413, "message_too_large"},
			{"a key that was used", "T", `[{"data":"1"},{"data":"2","idempotency_key":"old"},{"data":"3"}]`, 409, "duplicate_batch"},
			{"a key twice", "T", `[{"data":"1","idempotency_key":"k"},{"data":"2","idempotency_key":"k"}]`, 409, "duplicate_batch"},
			{"a delayed message", "T", `[{"data":"1"},{"data":"2","delay":"1h"}]`, 422, "invalid_batch"},
			{"no room for all", "full", `[{"data":"1"},{"data":"2"},{"data":"3"}]`, 429, "topic_full"},
			{"no such topic", "none", `[{"data":"1"},{"data":"2"}]`, 404, "topic_not_found"},
			{"no message", "T", `[]`, 422, "invalid_batch"},
		}
		for _, test := range tests {
			r := a.post(path(test.topic, "messages")+"?atomic=true", test.batch)
			if assert.Equal(t, test.status, r.status, "%s: %s", test.name, r.body) {
				r.refuses(test.status, test.code)
			}
		}
		assert.Equal(t, []string{"0"}, textsOf(a.get(path("T", "messages")).messages()))
		assert.Equal(t, []string{"0"}, textsOf(a.get(path("full", "messages")).messages()))
		a.post(path("T", "messages")+"?atomic=true", `[{"data":"1","key":"a"},{"data":"2","key":"b","idempotency_key":"k"}]`).is(http.StatusCreated)
		a.post(path("full", "messages")+"?atomic=true", `[{"data":"1"},{"data":"2"}]`).is(http.StatusCreated)
		assert.Equal(t, numbers(0, 3), textsOf(a.get(path("T", "messages")).messages()))
	})
}

func TestProduce_PartialBatchSaysWhatBecameOfEachMessage(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", `{"max_message_bytes":1000}`)
	p := a.post(path("T", "messages"), `[{"data":"1"},{"data":"`+strings.Repeat("x", 1001)+`"},{"data":"3"}]`).refuses(http.StatusRequestEntityTooLarge, "message_too_large")
	require.Len(t, p.Messages, 3)
	assert.EqualValues(t, 1, p.Messages[0].Sequence)
	assert.Equal(t, "message_too_large", p.Messages[1].Code)
	assert.NotEmpty(t, p.Messages[1].Detail)
	assert.Zero(t, p.Messages[1].Sequence)
	assert.EqualValues(t, 2, p.Messages[2].Sequence)
	assert.Contains(t, p.Detail, "2 of 3")

	a.topic("full", `{"max_messages":1,"when_full":"refuse_new"}`)
	p = a.post(path("full", "messages"), `[{"data":"1"},{"data":"2"}]`).refuses(http.StatusTooManyRequests, "topic_full")
	assert.EqualValues(t, 1, p.Messages[0].Sequence)
	assert.Equal(t, "topic_full", p.Messages[1].Code)
}

func TestProduce_ExpectedSequenceMustBeTheLast(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	expecting := func(n int, query, body string) response {
		return a.post(fmt.Sprintf("%s?expected_last_sequence=%d%s", path("T", "messages"), n, query), body)
	}
	p := expecting(1, "", `{"data":"x"}`).refuses(http.StatusConflict, "wrong_last_sequence")
	require.NotNil(t, p.LastSequence, "it says what it is, even if it is 0")
	assert.EqualValues(t, 0, *p.LastSequence)
	expecting(0, "", `{"data":"1"}`).is(http.StatusCreated)
	p = expecting(0, "", `{"data":"x"}`).refuses(http.StatusConflict, "wrong_last_sequence")
	assert.EqualValues(t, 1, *p.LastSequence)
	expecting(0, "&atomic=true", batchOf(2, 2, "")).refuses(http.StatusConflict, "wrong_last_sequence")
	expecting(1, "&atomic=true", batchOf(2, 2, "")).is(http.StatusCreated)
	expecting(3, "", batchOf(4, 2, "")).refuses(http.StatusUnprocessableEntity, "invalid_batch")
	expecting(3, "&atomic=true", batchOf(4, 1, "")).is(http.StatusCreated)
	expecting(4, "", `{"data":"x","delay":"1h"}`).refuses(http.StatusUnprocessableEntity, "invalid_batch")
	assert.Equal(t, numbers(1, 4), textsOf(a.get(path("T", "messages")).messages()))
}

func TestProduce_OneOfTwoWithTheSameExpectedSequenceWins(t *testing.T) {
	t.Parallel()
	first, second := twoBrokers(t)
	first.topic("T", "")
	for round := range 20 {
		results := make(chan int, 2)
		for _, a := range []api{first, second} {
			go func() {
				results <- a.post(fmt.Sprintf("%s?expected_last_sequence=%d", path("T", "messages"), round), `{"data":"x"}`).status
			}()
		}
		assert.Equal(t, http.StatusCreated+http.StatusConflict, <-results+<-results)
	}
}

func TestProduce_MessageGoesAfterItsTTL(t *testing.T) {
	t.Parallel()
	brokertest.Modes(t, func(t *testing.T, cfg broker.Config) {
		a := startAPI(t, cfg)
		a.topic("T", "")
		a.consumer("T", `{"name":"c"}`)
		a.consumer("T", `{"name":"k","key":"k"}`)
		a.produce("T", `[{"data":"first"},{"data":"short","ttl":"1s","key":"k"},{"data":"long","ttl":"1h","key":"k"},{"data":"none"}]`)
		a.do(http.MethodPost, path("T", "messages"), "raw", "Dq-Ttl", "1s").is(http.StatusCreated)
		require.Eventually(t, func() bool {
			return slices.Equal([]string{"first", "long", "none"}, textsOf(a.get(path("T", "messages")).messages()))
		}, 20*time.Second, 50*time.Millisecond)
		a.get(path("T", "messages", 2)).refuses(http.StatusNotFound, "message_not_found")
		assert.EqualValues(t, 3, a.describe("T", "c").Size, "it is not counted any more")
		assert.EqualValues(t, 1, a.describe("T", "k").Size)
		assert.Equal(t, []string{"first", "long", "none"}, a.drain("T", "c"))
		assert.Equal(t, []string{"long"}, a.drain("T", "k"))
	})
}
