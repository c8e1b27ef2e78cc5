package verify_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/cmd/dq/verify"
	"dq/cmd/dq/verify/check"
)

// answer is what a broker answers.
type answer struct {
	status int
	body   string
}

// request is what a client asks, and a way to ask the broker behind the proxy.
type request struct {
	*http.Request
	body string
	asks func(method, path, body string, header http.Header) answer
	*bug
}

// forward asks the broker the same.
func (r *request) forward() answer { return r.asks(r.Method, r.URL.RequestURI(), r.body, r.Header) }

// is reports whether r is that call.
func (r *request) is(method, suffix string) bool {
	return r.Method == method && strings.HasSuffix(r.URL.Path, suffix)
}

// nth reports whether it is asked for the n-th time about what.
func (r *request) nth(n int, what string) bool {
	r.seen[what]++
	return r.seen[what] == n
}

// proxy stands before a real broker and has bugs. The calls that a bug may change
// come one at a time.
type proxy struct {
	mu     sync.Mutex
	bugs   []*bug
	line   func(line string) bool // whether a line of a stream is dropped; nil: none is
	client http.Client
}

// bug is a planted one, with the check that has to find it and a part of what
// that says. Its change answers a call, or returns false to have it forwarded.
type bug struct {
	name, check, text string
	change            func(*request) (answer, bool)
	seen              map[string]int
	kept              map[string]answer
}

func (p *proxy) start(t *testing.T, broker string) string {
	for _, b := range p.bugs {
		b.seen, b.kept = make(map[string]int), make(map[string]answer)
	}
	ask := func(ctx context.Context, method, path, body string, header http.Header) *http.Response {
		out, err := http.NewRequestWithContext(ctx, method, broker+path, strings.NewReader(body))
		if err != nil {
			return nil
		}
		out.Header = header.Clone()
		response, err := p.client.Do(out)
		if err != nil {
			return nil
		}
		return response
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, in *http.Request) {
		body, _ := io.ReadAll(in.Body)
		if strings.HasSuffix(in.URL.Path, "/stream") {
			if response := ask(in.Context(), in.Method, in.URL.RequestURI(), "", in.Header); response != nil {
				defer response.Body.Close()
				p.stream(w, response)
			}
			return
		}
		r := &request{Request: in, body: string(body), asks: func(method, path, body string, header http.Header) answer {
			response := ask(context.Background(), method, path, body, header)
			if response == nil {
				return answer{status: 500, body: ""}
			}
			defer response.Body.Close()
			raw, _ := io.ReadAll(response.Body)
			return answer{status: response.StatusCode, body: string(raw)}
		}}
		out, done := p.decide(r)
		if !done {
			out = r.forward()
		}
		w.WriteHeader(out.status)
		_, _ = io.WriteString(w, out.body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func (p *proxy) decide(r *request) (answer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r.bug = range p.bugs {
		if out, done := r.change(r); done {
			return out, true
		}
	}
	return pass, false
}

func (p *proxy) stream(w http.ResponseWriter, response *http.Response) {
	w.WriteHeader(response.StatusCode)
	in := bufio.NewReader(response.Body)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		p.mu.Lock()
		drop := p.line != nil && p.line(line)
		p.mu.Unlock()
		if !drop {
			_, _ = io.WriteString(w, line)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

const (
	produce  = "/producer/produce"
	consume  = "/consumer/consume"
	messages = "/messages"
	fetch    = "/fetch"
)

var (
	success     = answer{status: 200, body: `{"status":"success"}`}
	pass        = answer{}
	nothingLeft = answer{status: 400, body: `{"status":"failure","code":"empty","message":"Empty logs"}`}
)

// change changes the JSON of an answer.
func (a answer) change(change func(map[string]any)) answer {
	var fields map[string]any
	if json.Unmarshal([]byte(a.body), &fields) == nil && fields != nil {
		change(fields)
		body, _ := json.Marshal(fields)
		a.body = string(body)
	}
	return a
}

// list is a list of objects in the field name.
func list(fields map[string]any, name string) (objects []map[string]any) {
	items, _ := fields[name].([]any)
	for _, item := range items {
		objects = append(objects, item.(map[string]any))
	}
	return objects
}

// The bugs.
var planted = []bug{
	{name: "an acked produce is dropped", check: "lost", text: "is not in the topic", change: func(r *request) (answer, bool) {
		return success, r.is("POST", produce) && r.nth(1, "produce")
	}},
	{name: "a message of a batch is dropped", check: "lost", text: "is not in the topic", change: func(r *request) (answer, bool) {
		if !r.is("POST", messages) || r.URL.RawQuery != "" || r.Header.Get("Idempotency-Key") != "" || r.seen["cut"] > 0 {
			return pass, false
		}
		var batch []map[string]any
		if json.Unmarshal([]byte(r.body), &batch) != nil || len(batch) < 2 {
			return pass, false
		}
		r.nth(1, "cut")
		short, _ := json.Marshal(batch[:len(batch)-1])
		return r.asks(r.Method, r.URL.RequestURI(), string(short), r.Header).change(func(fields map[string]any) {
			receipts := list(fields, "messages")
			last := receipts[len(receipts)-1]["sequence"].(float64)
			fields["messages"] = append(fields["messages"].([]any), map[string]any{"sequence": last + 1})
		}), true
	}},
	{name: "a consumer skips a message", check: "lost", text: "never got", change: func(r *request) (answer, bool) {
		if !r.is("GET", consume) {
			return pass, false
		}
		out := r.forward()
		if out.status == 200 && r.nth(9, "consume") {
			out = r.forward()
		}
		return out, true
	}},
	{name: "a produce is stored twice", check: "duplicate", text: "is in the topic twice", change: func(r *request) (answer, bool) {
		if !r.is("POST", produce) || !r.nth(1, "produce") {
			return pass, false
		}
		r.forward()
		return r.forward(), true
	}},
	{name: "a consumed message is repeated", check: "duplicate", text: "twice", change: func(r *request) (answer, bool) {
		if !r.is("GET", consume) {
			return pass, false
		}
		before, there := r.kept[r.URL.RawQuery]
		if there && r.nth(3, "repeat") {
			return before, true
		}
		out := r.forward()
		if out.status == 200 {
			r.kept[r.URL.RawQuery] = out
		}
		return out, true
	}},
	{name: "two messages are swapped", check: "order", text: "it is before that in the topic", change: func(r *request) (answer, bool) {
		if !r.is("GET", consume) {
			return pass, false
		}
		if first, there := r.kept[r.URL.RawQuery]; there {
			delete(r.kept, r.URL.RawQuery)
			return first, true
		}
		first := r.forward()
		if first.status != 200 || r.seen["swap"] > 3 {
			return first, true
		}
		second := r.forward()
		if second.status != 200 {
			return first, true
		}
		r.nth(1, "swap")
		r.kept[r.URL.RawQuery] = first
		return second, true
	}},
	{name: "a message is made up", check: "phantom", text: "was never sent", change: func(r *request) (answer, bool) {
		if !r.is("GET", consume) {
			return pass, false
		}
		out := r.forward()
		if out.status == 200 && r.nth(6, "consume") {
			return out.change(func(fields map[string]any) { fields["message"] = "who said that" }), true
		}
		return out, true
	}},
	{name: "a message is cut short", check: "phantom", text: "was never sent", change: func(r *request) (answer, bool) {
		if !r.is("POST", fetch) {
			return pass, false
		}
		out := r.forward()
		return out.change(func(fields map[string]any) {
			if got := list(fields, "messages"); len(got) > 0 && r.nth(4, "fetch") {
				text := got[0]["data"].(string)
				got[0]["data"] = text[:len(text)-1]
			}
		}), true
	}},
	{name: "a produce is refused and stored", check: "phantom", text: "was refused, and is in the topic", change: func(r *request) (answer, bool) {
		if !r.is("POST", produce) || !r.nth(1, "produce") {
			return pass, false
		}
		r.forward()
		return answer{status: 429, body: `{"status":"failure","code":"rate_limited","message":"too many"}`}, true
	}},
	{name: "nothing is said to be there when something is", check: "stale", text: "was told that there is nothing", change: func(r *request) (answer, bool) {
		if !r.is("GET", consume) {
			return pass, false
		}
		if r.nth(1, "stale"); r.seen["stale"]%3 == 0 {
			return pass, false // what is there is handed out after all
		}
		size := r.asks("GET", "/size?"+r.URL.RawQuery, "", r.Header)
		if !strings.Contains(size.body, `"size":0`) && size.status == 200 {
			return nothingLeft, true
		}
		return pass, false
	}},
	{name: "a size is stale", check: "size", text: "was said to have", change: func(r *request) (answer, bool) {
		if !r.is("GET", "/size") {
			return pass, false
		}
		return r.forward().change(func(fields map[string]any) {
			if size, there := fields["size"].(float64); there && size > 0 {
				fields["size"] = size + 1000
			}
		}), true
	}},
	{name: "a browse leaves a message out", check: "replay", text: "has something else at the end", change: func(r *request) (answer, bool) {
		if !r.is("GET", messages) || strings.Contains(r.URL.RawQuery, "limit=1000") {
			return pass, false
		}
		return r.forward().change(func(fields map[string]any) {
			if all := fields["messages"].([]any); len(all) > 2 {
				fields["messages"] = slices.Delete(all, 1, 2)
			}
		}), true
	}},
	{name: "a read is stale", check: "stale", text: "was stored, and was not read", change: func(r *request) (answer, bool) {
		return answer{status: 200, body: `{"messages":[],"next":1}`}, r.is("GET", messages) && !strings.Contains(r.URL.RawQuery, "limit=1000")
	}},
	{name: "an atomic batch is split", check: "atomic", text: "of an atomic batch are in the topic", change: func(r *request) (answer, bool) {
		var batch []any
		if !r.is("POST", messages) || r.URL.RawQuery != "atomic=true" || json.Unmarshal([]byte(r.body), &batch) != nil || len(batch) < 2 || !r.nth(1, "split") {
			return pass, false
		}
		part, _ := json.Marshal(batch[:1])
		r.asks(r.Method, r.URL.Path, string(part), r.Header)
		return answer{status: 503, body: `{"code":"unavailable"}`}, true
	}},
	{name: "an idempotency key is forgotten", check: "idempotent", text: "is in the topic twice", change: func(r *request) (answer, bool) {
		if r.Header.Get("Idempotency-Key") == "" {
			return pass, false
		}
		r.Header.Del("Idempotency-Key")
		return r.forward(), true
	}},
	{name: "an ack is lost", check: "ack", text: "and got it again", change: func(r *request) (answer, bool) {
		return answer{status: 204, body: ""}, r.is("POST", "/ack") && r.nth(2, "ack")
	}},
	{name: "an acked lease is handed out again", check: "ack", text: "and got it again", change: func(r *request) (answer, bool) {
		switch {
		case r.is("POST", fetch):
			// Again and again: the first may have been asked for before the ack.
			if acked, there := r.kept["acked "+r.URL.Path]; there && r.seen["again"] < 9 && !r.nth(9, "again") {
				return acked, true
			}
			out := r.forward()
			_ = out.change(func(fields map[string]any) {
				for _, m := range list(fields, "messages") {
					if token, there := m["token"].(string); there {
						r.kept[token] = out
					}
				}
			})
			return out, true
		case r.is("POST", "/ack"):
			out := r.forward()
			_ = answer{status: 200, body: r.body}.change(func(fields map[string]any) {
				if token := fields["tokens"].([]any)[0].(string); out.status == 204 {
					r.kept["acked "+strings.TrimSuffix(r.URL.Path, "/ack")+fetch] = r.kept[token]
				}
			})
			return out, true
		}
		return pass, false
	}},
	{name: "two workers have a lease", check: "lease", text: "", change: func(r *request) (answer, bool) {
		if !r.is("POST", fetch) {
			return pass, false
		}
		// Some: the first worker may have acknowledged it.
		if held, there := r.kept[r.URL.Path]; there && r.seen["held"] < 9 && !r.nth(9, "held") {
			delete(r.kept, r.URL.Path)
			return held.change(func(fields map[string]any) {
				for _, m := range list(fields, "messages") {
					n := m["deliveries"].(float64)
					token := m["token"].(string)
					m["deliveries"] = n + 1
					m["token"] = fmt.Sprintf("%s-%d", token[:strings.LastIndex(token, "-")], int(n)+1)
				}
			}), true
		}
		out := r.forward()
		if strings.Contains(out.body, "token") {
			r.kept[r.URL.Path] = out
		}
		return out, true
	}},
	{name: "a lease is said to be lost", check: "lease", text: "was told that it has not", change: func(r *request) (answer, bool) {
		// Some: a slow one may come when the lease has run out.
		if !r.is("POST", "/ack") || r.seen["ack"] == 9 || r.nth(9, "ack") {
			return pass, false
		}
		return answer{status: 409, body: `{"code":"lease_lost",` + r.body[1:]}, true
	}},
	{name: "an id is given twice", check: "ids", text: "was given twice", change: func(r *request) (answer, bool) {
		if !r.is("POST", "/producer/register") {
			return pass, false
		}
		if before, there := r.kept["id"]; there && r.nth(3, "id") {
			return before, true
		}
		r.kept["id"] = r.forward()
		return r.kept["id"], true
	}},
	{name: "an id is skipped", check: "ids", text: "was skipped", change: func(r *request) (answer, bool) {
		if r.is("POST", "/producer/register") && r.nth(7, "register") {
			r.forward()
		}
		return pass, false
	}},
	{name: "ids are given in another order", check: "registry", text: "a counter", change: func(r *request) (answer, bool) {
		if !r.is("POST", "/producer/register") {
			return pass, false
		}
		if low, there := r.kept["low"]; there && r.nth(7, "register") {
			return low, true
		} else if !there && r.nth(2, "low") {
			r.kept["low"] = r.forward()
		}
		return pass, false
	}},
	{name: "a topic is made twice", check: "names", text: "the topic", change: func(r *request) (answer, bool) {
		if !r.is("POST", "/topics") {
			return pass, false
		}
		r.forward()
		return success, true
	}},
	{name: "a consumer with a name is made twice", check: "names", text: "consumer ", change: func(r *request) (answer, bool) {
		if !r.is("POST", "/consumers") || !strings.Contains(r.body, "race") {
			return pass, false
		}
		out := r.forward()
		out.status = 201
		return out, true
	}},
	{name: "a failure has no name", check: "answers", text: "status 500 internal", change: func(r *request) (answer, bool) {
		return answer{status: 500, body: `{"status":"failure","code":"internal","message":"oops"}`}, r.is("GET", consume) && r.nth(3, "consume")
	}},
	{name: "a topic is forgotten", check: "answers", text: "topic_not_found", change: func(r *request) (answer, bool) {
		return answer{status: 400, body: `{"status":"failure","code":"topic_not_found","message":"no"}`}, r.is("POST", produce) && r.nth(1, "produce")
	}},
}

// together are bugs that are not in each other's way.
func together(t *testing.T, names ...string) (p *proxy) {
	t.Helper()
	p = &proxy{}
	for _, name := range names {
		i := slices.IndexFunc(planted, func(b bug) bool { return b.name == name })
		require.GreaterOrEqual(t, i, 0, name)
		b := planted[i]
		p.bugs = append(p.bugs, &b)
	}
	return p
}

func TestPlantedBugsAreFound(t *testing.T) {
	t.Parallel()
	groups := [][]string{
		{
			"an acked produce is dropped", "a produce is stored twice", "a produce is refused and stored", "a topic is forgotten",
			"a message is made up", "a message is cut short", "a size is stale", "a browse leaves a message out", "a topic is made twice", "an ack is lost",
		},
		{
			"a message of a batch is dropped", "a consumer skips a message", "an acked lease is handed out again",
			"a read is stale", "an id is given twice",
		},
		{"a consumed message is repeated", "two workers have a lease", "an id is skipped", "a consumer with a name is made twice"},
		{"an atomic batch is split", "an idempotency key is forgotten", "a lease is said to be lost", "ids are given in another order"},
		{"a failure has no name"},
		{"two messages are swapped"},
		{"nothing is said to be there when something is"}, // not with one after which calls have an unknown outcome
	}
	tried := 0
	for i, group := range groups {
		tried += len(group)
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			found(t, together(t, group...), options())
		})
	}
	assert.Len(t, planted, tried, "every bug is tried")
	t.Run("a stream leaves a message out", func(t *testing.T) {
		t.Parallel()
		events := 0
		p := &proxy{bugs: []*bug{{check: "lost", text: "never got", change: func(*request) (answer, bool) { return pass, false }}}}
		p.line = func(line string) bool {
			if strings.HasPrefix(line, "data: {") {
				events++
			}
			return events%5 == 0 && events > 0 // the client may ask for the last one again
		}
		found(t, p, options())
	})
	t.Run("a broker fails for ever", func(t *testing.T) {
		t.Parallel()
		p := &proxy{bugs: []*bug{{check: "progress", text: "classic consumer is at the end", change: func(r *request) (answer, bool) {
			return answer{status: 500, body: `{"status":"failure","code":"unavailable","message":"no"}`}, r.is("GET", consume)
		}}}}
		opts := options()
		opts.Patience = 2 * time.Second
		found(t, p, opts)
	})
}

// found checks that a run through p finds its bugs, and that its history shows
// them again.
func found(t *testing.T, p *proxy, opts verify.Options) {
	t.Helper()
	b := brokertest.Start(t, brokertest.Config(""))
	opts.URLs, opts.Count = []string{p.start(t, b.URL())}, 1
	var history bytes.Buffer
	opts.History = &history
	result, err := verify.Run(context.Background(), opts)
	require.NoError(t, err)
	again, err := verify.Replay(&history, false)
	require.NoError(t, err)
	for _, bug := range p.bugs {
		is := func(v check.Violation) bool { return v.Check == bug.check && strings.Contains(v.Text, bug.text) }
		i := slices.IndexFunc(result.Violations, is)
		if !assert.GreaterOrEqual(t, i, 0, "%s: no violation of %s with %q:\n%s", bug.name, bug.check, bug.text, show(t, result)) {
			continue
		}
		assert.NotEmpty(t, result.Violations[i].Ops)
		assert.LessOrEqual(t, len(result.Violations[i].Ops), 6, "a small history")
		assert.True(t, slices.ContainsFunc(again.Violations, is), "%s: the history shows it again", bug.name)
	}
}
