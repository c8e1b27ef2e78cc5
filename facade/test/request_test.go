package test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

func TestRequest_BadCallsAreRefusedAndChangeNothing(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	const (
		T        = "/v1/topics/T"
		none     = "/v1/topics/none"
		messages = T + "/messages"
		auto     = T + "/consumers/auto"
		lease    = T + "/consumers/lease"
	)
	a.topic("T", `{"max_messages":1000}`)
	a.topic("U", "")
	a.fill("T", 0, 3)
	a.consumer("T", `{"name":"auto","start":"first"}`)
	a.consumer("T", `{"name":"lease","mode":"lease","start":"first","max_in_flight":1}`)
	ofU := a.consumer("U", "").ID
	token := a.fetch("T", "lease", "")[0].Token
	before := a.everything()

	long := strings.Repeat("x", 257)
	tests := []struct {
		name, method, path, body string
		status                   int
		code, detail             string // detail: what the answer's has to contain
		headers                  []string
	}{
		// Paths and methods
		{"unknown path", "GET", "/v1/nothing", "", 404, "path_not_found", "/v1/nothing", nil},
		{"unknown path below a topic", "GET", T + "/nothing", "", 404, "path_not_found", "nothing", nil},
		{"unknown method", "POST", "/v1/topics", "{}", 405, "method_not_allowed", "GET", nil},
		{"head", "HEAD", T, "", 405, "", "", nil},
		{"fetch by GET", "GET", auto + "/fetch", "", 405, "method_not_allowed", "POST", nil},
		{"stream by POST", "POST", auto + "/stream", "", 405, "method_not_allowed", "GET", nil},
		{"a path that is not UTF-8", "GET", "/v1/topics/%ff", "", 400, "invalid_field", "topic", nil},
		{"a consumer that is not UTF-8", "GET", T + "/consumers/%ff", "", 400, "invalid_field", "consumer", nil},
		// Parameters and encodings that nobody reads
		{"a misspelt bound of a purge", "DELETE", messages + "?upto=1", "", 400, "invalid_field", "up_to", nil},
		{"a parameter of nobody", "GET", T + "?verbose=1", "", 400, "invalid_field", "verbose", nil},
		{"a parameter of another call", "POST", messages + "?wait=1s", `{"data":""}`, 400, "invalid_field", "expected_last_sequence", nil},
		{"a parameter that is not UTF-8", "POST", auto + "/fetch?%ff=1", "", 400, "invalid_field", "limit", nil},
		{"a compressed body", "POST", messages, "\x1f\x8b", 415, "unsupported_encoding", "gzip", []string{"Content-Type", "a/b", "Content-Encoding", "gzip"}},
		{"a compressed batch", "POST", messages, `[{"data":""}]`, 415, "unsupported_encoding", "zstd", []string{"Content-Encoding", "zstd"}},
		// Topics
		{"a reserved name", "PUT", "/v1/topics/subl", "", 422, "invalid_topic_name", "reserved", nil},
		{"a name with two dashes", "PUT", "/v1/topics/a--b", "", 422, "invalid_topic_name", "--", nil},
		{"a long name", "PUT", "/v1/topics/" + long, "", 422, "invalid_topic_name", "240", nil},
		{"settings that are no JSON", "PUT", none, "max_age=1s", 400, "invalid_json", "JSON", nil},
		{"settings in a list", "PUT", none, "[]", 400, "invalid_json", "object", nil},
		{"null for settings", "PUT", none, "null", 400, "invalid_json", "object", nil},
		{"a setting of nobody", "PUT", none, `{"max_agee":"1s"}`, 400, "invalid_field", "max_agee", nil},
		{"a number for an age", "PUT", none, `{"max_age":10}`, 400, "invalid_field", "max_age", nil},
		{"no duration", "PUT", none, `{"max_age":"1 day"}`, 400, "invalid_field", "1 day", nil},
		{"a negative age", "PUT", none, `{"max_age":"-1s"}`, 422, "invalid_setting", "max_age", nil},
		{"a negative size", "PUT", none, `{"max_bytes":-1}`, 422, "invalid_setting", "max_bytes", nil},
		{"a size without room for a message", "PUT", none, `{"max_bytes":1023}`, 422, "invalid_setting", "1024", nil},
		{"a size beyond all disks", "PUT", none, `{"max_bytes":9223372036854775807}`, 422, "invalid_setting", "max_bytes", nil},
		{"messages larger than all of them", "PUT", none, `{"max_bytes":2000,"max_message_bytes":1482}`, 422, "invalid_setting", "less than 1482", nil},
		{"an age beyond all times", "PUT", none, `{"max_age":"2200000h"}`, 422, "invalid_setting", "876000h", nil},
		{"null for a setting", "PUT", none, `{"max_age":null}`, 400, "invalid_field", "max_age", nil},
		{"a change to null", "PATCH", T, `{"max_messages":null}`, 400, "invalid_field", "max_messages", nil},
		{"a negative number", "PUT", none, `{"max_messages":-1}`, 422, "invalid_setting", "max_messages", nil},
		{"a fraction", "PUT", none, `{"max_messages":1.5}`, 400, "invalid_field", "max_messages", nil},
		{"a huge number", "PUT", none, `{"max_message_bytes":4294967296}`, 400, "invalid_field", "max_message_bytes", nil},
		{"a word for what to do", "PUT", none, `{"when_full":"explode"}`, 422, "invalid_setting", "drop_oldest", nil},
		{"a short window", "PUT", none, `{"dedup_window":"1ms"}`, 422, "invalid_setting", "100ms", nil},
		{"a window above the age", "PUT", none, `{"max_age":"1m","dedup_window":"2m"}`, 422, "invalid_setting", "max_age", nil},
		{"no replica", "PUT", none, `{"replicas":0}`, 422, "invalid_setting", "replicas", nil},
		{"many replicas", "PUT", none, `{"replicas":6}`, 422, "invalid_setting", "replicas", nil},
		{"more replicas than servers", "PUT", none, `{"replicas":3}`, 422, "invalid_setting", "replicas", nil},
		{"a storage of nobody", "PUT", none, `{"storage":"tape"}`, 422, "invalid_setting", "memory", nil},
		{"other settings", "PUT", T, `{"max_messages":999}`, 409, "other_settings", "PATCH", nil},
		{"a change of nothing", "PATCH", none, `{}`, 404, "topic_not_found", "none", nil},
		{"a change to nonsense", "PATCH", T, `{"when_full":""}`, 422, "invalid_setting", "when_full", nil},
		{"a change of the storage", "PATCH", T, `{"storage":"file"}`, 422, "invalid_setting", "storage", nil},
		{"deletion of nothing", "DELETE", none, "", 404, "topic_not_found", "none", nil},
		{"no topic", "GET", none, "", 404, "topic_not_found", "none", nil},
		{"a purge up to nothing", "DELETE", messages + "?up_to=0", "", 400, "invalid_field", "up_to", nil},
		{"a purge up to a word", "DELETE", messages + "?up_to=all", "", 400, "invalid_field", "up_to", nil},
		{"an empty page", "GET", "/v1/topics?limit=0", "", 400, "invalid_field", "limit", nil},
		{"a large page", "GET", "/v1/topics?limit=1001", "", 400, "invalid_field", "1000", nil},
		{"a prefix that is not UTF-8", "GET", "/v1/topics?prefix=%ff", "", 400, "invalid_field", "prefix", nil},
		// Produce
		{"produce to nothing", "POST", none + "/messages", `{"data":""}`, 404, "topic_not_found", "none", nil},
		{"produce nothing", "POST", messages, ``, 400, "invalid_json", "JSON", nil},
		{"produce null", "POST", messages, `null`, 400, "invalid_json", "object", nil},
		{"produce an empty list", "POST", messages, `[]`, 422, "invalid_batch", "no message", nil},
		{"produce a list of null", "POST", messages, `[null]`, 400, "missing_field", "message 1", nil},
		{"produce without data", "POST", messages, `{"key":"k"}`, 400, "missing_field", "data", nil},
		{"produce a number", "POST", messages, `{"data":1}`, 400, "invalid_field", "data", nil},
		{"produce data twice", "POST", messages, `{"data":"","data_base64":""}`, 400, "invalid_field", "data_base64", nil},
		{"no base64", "POST", messages, `{"data_base64":"%%"}`, 400, "invalid_field", "data_base64", nil},
		{"an unknown field", "POST", messages, `{"data":"","keys":"k"}`, 400, "invalid_field", "keys", nil},
		{"a long key", "POST", messages, `{"data":"","key":"` + long + `"}`, 400, "invalid_field", "240", nil},
		{"a reserved header", "POST", messages, `{"data":"","headers":{"nats-ttl":"1s"}}`, 400, "invalid_field", "reserved", nil},
		{"a content type as a header", "POST", messages, `{"data":"","headers":{"content-type":"a/b"}}`, 400, "invalid_field", "content_type", nil},
		{"a header without a name", "POST", messages, `{"data":"","headers":{"":"v"}}`, 400, "invalid_field", "headers", nil},
		{"a header with a space", "POST", messages, `{"data":"","headers":{"a b":"v"}}`, 400, "invalid_field", "headers", nil},
		{"a header with a line break", "POST", messages, `{"data":"","headers":{"a":"v\r\nb: c"}}`, 400, "invalid_field", "control", nil},
		{"too many headers", "POST", messages, `{"data":"","headers":{"a":"` + strings.Repeat("x", 17_000) + `"}}`, 400, "invalid_field", "16384", nil},
		{"a content type with a line break", "POST", messages, `{"data":"","content_type":"a\nb"}`, 400, "invalid_field", "content_type", nil},
		{"a long idempotency key", "POST", messages, `{"data":"","idempotency_key":"` + long + `"}`, 400, "invalid_field", "256", nil},
		{"a long idempotency key in the header", "POST", messages, `[{"data":""}]`, 400, "invalid_field", "256", []string{"Idempotency-Key", long}},
		{"a TTL in parts of seconds", "POST", messages, `{"data":"","ttl":"1500ms"}`, 400, "invalid_field", "ttl", nil},
		{"a TTL beyond all times", "POST", messages, `{"data":"","ttl":"2200000h"}`, 400, "invalid_field", "876000h", nil},
		{"a header in two cases", "POST", messages, `{"data":"","headers":{"a":"1","A":"2"}}`, 400, "invalid_field", "twice", nil},
		{"a reserved idempotency key", "POST", messages, `{"data":"","idempotency_key":"dq-delayed-1"}`, 400, "invalid_field", "dq-", nil},
		{"a negative TTL", "POST", messages, `{"data":"","ttl":"-1s"}`, 400, "invalid_field", "ttl", nil},
		{"a negative delay", "POST", messages, `{"data":"","delay":"-1s"}`, 400, "invalid_field", "delay", nil},
		{"a delay and a time", "POST", messages, `{"data":"","delay":"1s","deliver_at":"2100-01-01T00:00:00Z"}`, 400, "invalid_field", "deliver_at", nil},
		{"a time far away", "POST", messages, `{"data":"","deliver_at":"2999-01-01T00:00:00Z"}`, 400, "invalid_field", "deliver_at", nil},
		{"a long delay", "POST", messages, `{"data":"","delay":"9000h"}`, 400, "invalid_field", "8760h", nil},
		{"no time", "POST", messages, `{"data":"","deliver_at":"tomorrow"}`, 400, "invalid_field", "deliver_at", nil},
		{"a bad line", "POST", messages, "{\"data\":\"\"}\n\n{\"data\":1}", 400, "invalid_field", "line 3", []string{"Content-Type", "application/x-ndjson"}},
		{"no line", "POST", messages, "\n\n", 422, "invalid_batch", "no message", []string{"Content-Type", "application/x-ndjson"}},
		{"a raw message with no TTL", "POST", messages, "x", 400, "invalid_field", "Dq-Ttl", []string{"Content-Type", "a/b", "Dq-Ttl", "soon"}},
		{"a raw message with no time", "POST", messages, "x", 400, "invalid_field", "Dq-Deliver-At", []string{"Content-Type", "a/b", "Dq-Deliver-At", "soon"}},
		{"a raw message with a reserved header", "POST", messages, "x", 400, "invalid_field", "reserved", []string{"Content-Type", "a/b", "Dq-Header-Nats-Msg-Id", "1"}},
		{"neither atomic nor not", "POST", messages + "?atomic=maybe", `{"data":""}`, 400, "invalid_field", "atomic", nil},
		{"an expected word", "POST", messages + "?expected_last_sequence=x", `{"data":""}`, 400, "invalid_field", "expected_last_sequence", nil},
		{"an expected sequence for many", "POST", messages + "?expected_last_sequence=3", `[{"data":""},{"data":""}]`, 422, "invalid_batch", "atomic", nil},
		{"another sequence", "POST", messages + "?expected_last_sequence=2", `{"data":""}`, 409, "wrong_last_sequence", "3", nil},
		// Browse
		{"from a word", "GET", messages + "?from=last", "", 400, "invalid_field", "from", nil},
		{"a negative sequence", "GET", messages + "?from=-1", "", 400, "invalid_field", "from", nil},
		{"a long wait", "GET", messages + "?wait=61s", "", 400, "invalid_field", "1m0s", nil},
		{"a wait in seconds", "GET", messages + "?wait=10", "", 400, "invalid_field", "10s", nil},
		{"no bytes", "GET", messages + "?max_bytes=0", "", 400, "invalid_field", "max_bytes", nil},
		{"message zero", "GET", messages + "/0", "", 400, "invalid_field", "sequence", nil},
		{"message x", "GET", messages + "/x", "", 400, "invalid_field", "sequence", nil},
		{"no message", "GET", messages + "/4", "", 404, "message_not_found", "4", nil},
		{"a stream from a word", "GET", messages, "", 400, "invalid_field", "Last-Event-ID", []string{"Accept", "text/event-stream", "Last-Event-ID", "x"}},
		{"a stream of nothing", "GET", none + "/messages", "", 404, "topic_not_found", "none", []string{"Accept", "text/event-stream"}},
		// Consumers
		{"a consumer of nothing", "POST", none + "/consumers", "", 404, "topic_not_found", "none", nil},
		{"null for a consumer", "POST", T + "/consumers", "null", 400, "invalid_json", "object", nil},
		{"a list for a consumer", "POST", T + "/consumers", "[]", 400, "invalid_json", "object", nil},
		{"an unknown field of a consumer", "POST", T + "/consumers", `{"group":"g"}`, 400, "invalid_field", "group", nil},
		{"a number for a name", "POST", T + "/consumers", `{"name":"12"}`, 400, "invalid_field", "name", nil},
		{"a name with a slash", "POST", T + "/consumers", `{"name":"a/b"}`, 400, "invalid_field", "name", nil},
		{"a name of dots", "POST", T + "/consumers", `{"name":".."}`, 400, "invalid_field", "name", nil},
		{"a long name of a consumer", "POST", T + "/consumers", `{"name":"` + long + `"}`, 400, "invalid_field", "128", nil},
		{"a start at a word", "POST", T + "/consumers", `{"start":"last"}`, 400, "invalid_field", "start", nil},
		{"a start at a fraction", "POST", T + "/consumers", `{"start":1.5}`, 400, "invalid_field", "start", nil},
		{"a start at true", "POST", T + "/consumers", `{"start":true}`, 400, "invalid_field", "start", nil},
		{"a mode of nobody", "POST", T + "/consumers", `{"mode":"exactly-once"}`, 400, "invalid_field", "mode", nil},
		{"a lease in mode auto", "POST", T + "/consumers", `{"lease":"1s"}`, 400, "invalid_field", "mode", nil},
		{"a short lease", "POST", T + "/consumers", `{"mode":"lease","lease":"1ms"}`, 400, "invalid_field", "100ms", nil},
		{"a long lease", "POST", T + "/consumers", `{"mode":"lease","lease":"13h"}`, 400, "invalid_field", "12h", nil},
		{"none in flight", "POST", T + "/consumers", `{"mode":"lease","max_in_flight":0}`, 400, "invalid_field", "max_in_flight", nil},
		{"too many in flight", "POST", T + "/consumers", `{"mode":"lease","max_in_flight":10001}`, 400, "invalid_field", "10000", nil},
		{"negative deliveries", "POST", T + "/consumers", `{"mode":"lease","max_deliveries":-1}`, 400, "invalid_field", "max_deliveries", nil},
		{"a dead-letter topic for nothing", "POST", T + "/consumers", `{"mode":"lease","dead_letter_topic":"D"}`, 400, "invalid_field", "max_deliveries", nil},
		{"a reserved dead-letter topic", "POST", T + "/consumers", `{"mode":"lease","max_deliveries":1,"dead_letter_topic":"publ"}`, 422, "invalid_topic_name", "publ", nil},
		{"a dead-letter topic that is the topic", "POST", T + "/consumers", `{"mode":"lease","max_deliveries":1,"dead_letter_topic":"T"}`, 422, "invalid_setting", "another", nil},
		{"no consumer", "GET", T + "/consumers/nobody", "", 404, "consumer_not_found", "nobody", nil},
		{"no consumer of that id", "GET", T + "/consumers/99", "", 404, "consumer_not_found", "99", nil},
		{"a huge id", "GET", T + "/consumers/99999999999999999999", "", 404, "consumer_not_found", "99999999999999999999", nil},
		{"a negative id", "DELETE", T + "/consumers/-1", "", 404, "consumer_not_found", "-1", nil},
		{"a consumer of another topic", "DELETE", fmt.Sprint(T, "/consumers/", ofU), "", 404, "consumer_not_found", "", nil},
		{"a page of consumers behind a word", "GET", T + "/consumers?after=x", "", 400, "invalid_field", "after", nil},
		{"fetch none", "POST", auto + "/fetch?limit=0", "", 400, "invalid_field", "limit", nil},
		{"fetch too many", "POST", auto + "/fetch?limit=10001", "", 400, "invalid_field", "10000", nil},
		{"fetch a word", "POST", auto + "/fetch?limit=all", "", 400, "invalid_field", "limit", nil},
		{"fetch for long", "POST", auto + "/fetch?wait=2m", "", 400, "invalid_field", "wait", nil},
		{"fetch for less than nothing", "POST", auto + "/fetch?wait=-1s", "", 400, "invalid_field", "wait", nil},
		{"fetch many raw", "POST", auto + "/fetch?raw=true&limit=2", "", 400, "invalid_field", "limit", nil},
		{"fetch from nobody", "POST", T + "/consumers/nobody/fetch", "", 404, "consumer_not_found", "nobody", nil},
		{"a stream from an event x", "GET", auto + "/stream", "", 400, "invalid_field", "Last-Event-ID", []string{"Last-Event-ID", "x"}},
		{"a socket without an upgrade", "GET", auto + "/socket", "", 426, "upgrade_required", "WebSocket", nil},
		{"ack in mode auto", "POST", auto + "/ack", `{"tokens":["` + token + `"]}`, 409, "wrong_mode", "lease", nil},
		{"ack nothing", "POST", lease + "/ack", ``, 400, "invalid_json", "JSON", nil},
		{"ack no tokens", "POST", lease + "/ack", `{"tokens":[]}`, 400, "missing_field", "tokens", nil},
		{"ack tokens and up to", "POST", lease + "/ack", `{"tokens":["a"],"up_to":"a"}`, 400, "invalid_field", "up_to", nil},
		{"ack with a delay", "POST", lease + "/ack", `{"tokens":["a"],"delay":"1s"}`, 400, "invalid_field", "delay", nil},
		{"ack nonsense", "POST", lease + "/ack", `{"tokens":["a","","0-0-0-0","` + token + `x","` + strings.Repeat("9", 100) + `"]}`, 409, "lease_lost", "5", nil},
		{"ack a text", "POST", lease + "/ack", `{"tokens":"a"}`, 400, "invalid_field", "tokens", nil},
		{"nack up to", "POST", lease + "/nack", `{"up_to":"a"}`, 400, "invalid_field", "up_to", nil},
		{"nack for long", "POST", lease + "/nack", `{"tokens":["` + token + `"],"delay":"13h"}`, 400, "invalid_field", "delay", nil},
		{"nack with a lease", "POST", lease + "/nack", `{"tokens":["` + token + `"],"lease":"1h"}`, 400, "invalid_field", "lease", nil},
		{"extend by nothing", "POST", lease + "/extend", `{"tokens":["` + token + `"],"lease":"0s"}`, 400, "invalid_field", "lease", nil},
		{"seek nowhere", "POST", lease + "/seek", `{}`, 400, "missing_field", "to", nil},
		{"seek to a word", "POST", lease + "/seek", `{"to":"last"}`, 400, "invalid_field", "to", nil},
		{"pause for ever", "POST", lease + "/pause", `{}`, 400, "missing_field", "for", nil},
		{"pause for no time", "POST", lease + "/pause", `{"for":"0s"}`, 400, "invalid_field", "for", nil},
		{"pause for years", "POST", lease + "/pause", `{"for":"8761h"}`, 400, "invalid_field", "for", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			headers := test.headers
			if test.body != "" && !strings.Contains(strings.Join(headers, ""), "Content-Type") || headers == nil {
				headers = append([]string{"Content-Type", "application/json"}, headers...)
			}
			a := a.in(t)
			request := a.request(t.Context(), test.method, test.path, test.body, headers...)
			if test.status == http.StatusNotFound && test.code == "path_not_found" || test.status == http.StatusMethodNotAllowed {
				undescribed(a, request, test.status, test.code)
				return
			}
			p := a.send(request, test.body).refuses(test.status, test.code)
			assert.Contains(t, p.Detail, test.detail)
		})
	}
	assert.Equal(t, before, a.everything())
	assert.Equal(t, ofU+1, a.consumer("T", "").ID, "no id was given out")
}

// undescribed makes a call that the description cannot have.
func undescribed(a api, request *http.Request, status int, code string) {
	a.t.Helper()
	answer, err := a.client.Do(request)
	if assert.NoError(a.t, err) {
		defer answer.Body.Close()
		r := readAll(a.t, answer)
		if r.body != "" { // as the answer to HEAD is
			r.refuses(status, code)
		}
		assert.Equal(a.t, status, r.status)
	}
}

// everything is all that the API tells of topics and consumers.
func (a api) everything() (all []string) {
	a.t.Helper()
	all = append(all, a.get("/v1/topics").is(http.StatusOK).body)
	for _, topic := range []string{"T", "U"} {
		for _, part := range [][]any{{topic}, {topic, "consumers"}, {topic, "messages"}} {
			all = append(all, a.get(path(part...)).is(http.StatusOK).body)
		}
	}
	return all
}

func TestRequest_RestOfARefusedBodyIsNotTakenForARequest(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	s.registerProducer("T")
	smuggled := "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 24\r\n\r\n" + `{"topic_name":"smuggled"}`
	for _, body := range []io.Reader{
		bytes.NewReader(bytes.Repeat([]byte(smuggled), 200_000)),                               // of known length
		io.MultiReader(strings.NewReader(smuggled), bytes.NewReader(make([]byte, 20_000_000))), // chunked
	} {
		response, err := http.Post(s.url+"/nothing", "application/json", body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.GreaterOrEqual(t, response.StatusCode, 400)
	}
	assert.Equal(t, []any{"T"}, s.do(http.MethodGet, "/topics", "").Message)
}

// dial connects to a broker without an HTTP client.
func dial(t testing.TB, url string) net.Conn {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestRequest_AmbiguousLengthIsRefusedAndTheConnectionClosed(t *testing.T) {
	t.Parallel()
	s := start(t, brokertest.Config(""))
	s.registerProducer("T")
	const (
		post    = "POST /topics HTTP/1.1\r\nHost: x\r\n"
		body    = `{"topic_name":"X"}`
		length  = "Content-Length: 18\r\n"
		chunks  = "12\r\n" + body + "\r\n0\r\n\r\n"
		another = "POST /topics HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n\r\n" + `{"topic_name":"smuggled"}`
	)
	for name, request := range map[string]string{
		"a length, and chunks":         post + length + "Transfer-Encoding: chunked\r\n\r\n" + chunks,
		"chunks, and a length":         post + "Transfer-Encoding: chunked\r\n" + length + "\r\n" + chunks,
		"a length, and no chunk":       post + "content-length: 18\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":                  post + length + "Content-Length: 3\r\n\r\n" + body,
		"a length twice":               post + length + length + "\r\n" + body,
		"a list of lengths":            post + "Content-Length: 18, 18\r\n\r\n" + body,
		"a length with a sign":         post + "Content-Length: +18\r\n\r\n" + body,
		"a negative length":            post + "Content-Length: -1\r\n\r\n" + body,
		"a hexadecimal length":         post + "Content-Length: 0x12\r\n\r\n" + body,
		"a length beyond all":          post + "Content-Length: 99999999999999999999\r\n\r\n" + body,
		"an encoding of nobody":        post + "Transfer-Encoding: xchunked\r\n\r\n" + chunks,
		"two encodings":                post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks,
		"a space before the colon":     post + "Transfer-Encoding : chunked\r\n\r\n" + chunks,
		"a chunk of no size":           post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body + "\r\n0\r\n\r\n",
		"a chunk of a negative size":   post + "Transfer-Encoding: chunked\r\n\r\n-1\r\n" + body + "\r\n0\r\n\r\n",
		"a chunk beyond all":           post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + body + "\r\n0\r\n\r\n",
		"a chunk longer than its size": post + "Transfer-Encoding: chunked\r\n\r\n1\r\n" + body + "\r\n0\r\n\r\n",
		"no version":                   "GET /topics\r\n\r\n",
		"another protocol":             "GET /topics FTP/1.1\r\nHost: x\r\n\r\n",
		"nonsense":                     "\x00\x01\x02\x03\r\n\r\n",
		"a long header":                post + "X: " + strings.Repeat("x", 20_000) + "\r\n" + length + "\r\n" + body,
		"many headers":                 post + strings.Repeat("X: x\r\n", 5000) + length + "\r\n" + body,
		"a long path":                  "GET /" + strings.Repeat("x", 20_000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"HTTP/2":                       "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"a method of nobody":           "STEAL /topics HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, s.url)
			_, err := io.WriteString(conn, request+another)
			require.NoError(t, err)
			answers := bufio.NewReader(conn)
			answer, err := http.ReadResponse(answers, nil)
			require.NoError(t, err)
			text, err := io.ReadAll(answer.Body)
			require.NoError(t, err)
			assert.GreaterOrEqual(t, answer.StatusCode, 400)
			assert.Less(t, answer.StatusCode, 500)
			assert.Contains(t, string(text), `"code":"`)
			assert.Less(t, len(text), 500, "not all of the request")
			_, err = answers.ReadByte()
			assert.True(t, errors.Is(err, io.EOF) || err != nil && !errors.Is(err, os.ErrDeadlineExceeded), "the connection is closed: %v", err)
		})
	}
	t.Cleanup(func() {
		assert.Equal(t, []any{"T"}, s.do(http.MethodGet, "/topics", "").Message, "nothing of it was taken for a request")
	})
}

func TestRequest_BodyThatEndsEarlyIsNotStored(t *testing.T) {
	t.Parallel()
	a := startAPI(t, brokertest.Config(""))
	a.topic("T", "")
	for _, body := range []string{
		"Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n",
		"Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nfi",
		"Content-Length: 6\r\n\r\nfirst",
	} {
		conn := dial(t, a.url)
		_, err := io.WriteString(conn, "POST "+path("T", "messages")+" HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"+body)
		require.NoError(t, err)
		half, ok := conn.(*net.TCPConn)
		require.True(t, ok)
		require.NoError(t, half.CloseWrite())
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusBadRequest, answer.StatusCode, body)
		answer.Body.Close()
	}
	assert.Empty(t, a.browse("T"))
}
