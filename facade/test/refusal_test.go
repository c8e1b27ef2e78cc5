package test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
)

// Paths of the topics and consumers that bad calls are about.
const (
	topicT    = "/v1/topics/T"
	noTopic   = "/v1/topics/none"
	messagesT = topicT + "/messages"
	autoT     = topicT + "/consumers/auto"
	leaseT    = topicT + "/consumers/lease"
)

// tooLong is longer than any name or key may be.
var tooLong = strings.Repeat("x", 257)

// fixture is what bad calls refer to.
type fixture struct {
	token string // of a message that the consumer "lease" of topic T has leased
	ofU   int64  // the id of a consumer of another topic, the last that was given out
}

// refusal is a bad call and its answer.
type refusal struct {
	name    string
	call    string   // method and path
	body    string   // text: much of it is malformed on purpose
	headers []string // names and values in turn

	status int
	code   string
	detail string // what the detail of the answer contains
}

// refuseAll makes bad calls to a broker that has the topics T and U. It fails the test unless each is refused as it
// says and all together change nothing.
func refuseAll(t *testing.T, calls func(f fixture) []refusal) {
	t.Helper()
	a := startAPI(t, brokertest.Config(""))
	a.createTopic("T", object{"max_messages": 1000})
	a.createTopic("U")
	a.fill("T", 0, 3)
	a.register("T", object{"name": "auto", "start": "first"})
	a.register("T", object{"name": "lease", "mode": "lease", "start": "first", "max_in_flight": 1})
	f := fixture{ofU: a.register("U").ID, token: a.consumer("T", "lease").fetch()[0].Token}
	before := everything(a)

	for _, call := range calls(f) {
		t.Run(call.name, func(t *testing.T) { call.isRefused(a.in(t)) })
	}

	assert.Equal(t, before, everything(a))
	assert.Equal(t, f.ofU+1, a.register("T").ID, "no id was given out")
}

// isRefused makes the call and checks the answer. A body is JSON unless the headers say otherwise.
func (r refusal) isRefused(a api) {
	a.t.Helper()
	headers := r.headers
	if r.body != "" && !strings.Contains(strings.Join(headers, ""), "Content-Type") || headers == nil {
		headers = append([]string{"Content-Type", "application/json"}, headers...)
	}
	method, path, _ := strings.Cut(r.call, " ")
	request := a.request(a.t.Context(), method, path, r.body, headers...)

	if r.code == "path_not_found" || r.status == http.StatusMethodNotAllowed {
		isRefusedUndescribed(a, request, r)
		return
	}

	p := a.send(request, r.body).refuses(r.status, r.code)
	assert.Contains(a.t, p.Detail, r.detail)
}

// isRefusedUndescribed makes a call of a path or method that the description does not have.
func isRefusedUndescribed(a api, request *http.Request, want refusal) {
	a.t.Helper()
	answer, err := a.client.Do(request)
	require.NoError(a.t, err)
	defer answer.Body.Close()

	r := readAll(a.t, answer)
	assert.Equal(a.t, want.status, r.status)
	if request.Method != http.MethodHead { // whose answer has no body
		p := r.refuses(want.status, want.code)
		assert.Contains(a.t, p.Detail, want.detail)
	}
}

// everything returns all that the API tells of the topics T and U.
func everything(a api) (all []string) {
	a.t.Helper()
	all = append(all, a.get("/v1/topics").is(http.StatusOK).body)
	for _, topic := range []string{"T", "U"} {
		for _, part := range []string{path(topic), path(topic, "consumers"), path(topic, "messages")} {
			all = append(all, a.get(part).is(http.StatusOK).body)
		}
	}
	return all
}
