package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/broker/brokertest"
	"dq/cmd/dq/verify"
	"dq/cmd/dq/verify/check"
)

// The ends of paths.
const (
	produce  = "/producer/produce"
	consume  = "/consumer/consume"
	register = "/producer/register"
	messages = "/messages"
	fetch    = "/fetch"
	ack      = "/ack"
)

// success is the classic answer to a produce.
var success = jsonAnswer(200, object{"status": "success"})

// forwarded says that a bug leaves a request to the broker.
func forwarded() (answer, bool) { return answer{}, false }

// planted are the bugs, by the check that must find them.
var planted = slices.Concat(lostBugs, duplicateBugs, phantomBugs, readBugs, appendBugs, leaseBugs, idBugs, answerBugs)

var lostBugs = []bug{
	{
		name: "an acked produce is dropped", check: "lost", text: "is not in the topic",
		plant: func(r *request) (answer, bool) { return success, r.calls("POST", produce) && r.nth(1, "produce") },
	},
	{
		name: "a message of a batch is dropped", check: "lost", text: "is not in the topic",
		plant: dropLastOfBatch,
	},
	{
		name: "a consumer skips a message", check: "lost", text: "never got",
		plant: func(r *request) (answer, bool) {
			if !r.calls("GET", consume) {
				return forwarded()
			}
			out := r.forward()
			if out.status == 200 && r.nth(9, "consume") {
				out = r.forward()
			}
			return out, true
		},
	},
}

// dropLastOfBatch appends a batch without its last message, and makes up the receipt
// of that.
func dropLastOfBatch(r *request) (answer, bool) {
	plain := r.URL.RawQuery == "" && r.Header.Get("Idempotency-Key") == ""
	var batch []object
	if !r.calls("POST", messages) || !plain || json.Unmarshal([]byte(r.body), &batch) != nil || len(batch) < 2 {
		return forwarded()
	}
	if !r.nth(1, "batch") {
		return forwarded()
	}

	short, _ := json.Marshal(batch[:len(batch)-1])
	return r.send(r.Method, r.URL.RequestURI(), string(short)).edit(func(o object) {
		receipts := objects(o, "messages")
		last := receipts[len(receipts)-1]["sequence"].(float64)
		o["messages"] = append(o["messages"].([]any), object{"sequence": last + 1})
	}), true
}

var duplicateBugs = []bug{
	{
		name: "a produce is stored twice", check: "duplicate", text: "is in the topic twice",
		plant: func(r *request) (answer, bool) {
			if !r.calls("POST", produce) || !r.nth(1, "produce") {
				return forwarded()
			}
			r.forward()
			return r.forward(), true
		},
	},
	{
		name: "a consumed message is repeated", check: "duplicate", text: "twice",
		plant: func(r *request) (answer, bool) {
			if !r.calls("GET", consume) {
				return forwarded()
			}
			if before, found := r.kept[r.URL.RawQuery]; found && r.nth(3, "repeat") {
				return before, true
			}
			out := r.forward()
			if out.status == 200 {
				r.kept[r.URL.RawQuery] = out
			}
			return out, true
		},
	},
	{
		name: "two messages are swapped", check: "order", text: "it is before that in the topic",
		plant: swapMessages,
	},
	{
		name: "a batch is stored in the opposite order", check: "order", text: "are not in its order",
		plant: reverseBatch,
	},
}

// swapMessages gives the second of two messages first.
func swapMessages(r *request) (answer, bool) {
	if !r.calls("GET", consume) {
		return forwarded()
	}
	if first, found := r.kept[r.URL.RawQuery]; found {
		delete(r.kept, r.URL.RawQuery)
		return first, true
	}

	first := r.forward()
	if first.status != 200 || r.counts["swap"] > 3 {
		return first, true
	}
	second := r.forward()
	if second.status != 200 {
		return first, true
	}
	r.counts["swap"]++
	r.kept[r.URL.RawQuery] = first
	return second, true
}

// reverseBatch stores a batch in the opposite order.
func reverseBatch(r *request) (answer, bool) {
	plain := r.URL.RawQuery == "" && r.Header.Get("Idempotency-Key") == ""
	var batch []object
	if !r.calls("POST", messages) || !plain || json.Unmarshal([]byte(r.body), &batch) != nil || len(batch) < 2 {
		return forwarded()
	}
	slices.Reverse(batch)
	body, _ := json.Marshal(batch)
	return r.send(r.Method, r.URL.RequestURI(), string(body)).edit(func(o object) {
		slices.Reverse(o["messages"].([]any))
	}), true
}

var phantomBugs = []bug{
	{
		name: "a message is made up", check: "phantom", text: "was never sent",
		plant: func(r *request) (answer, bool) {
			if !r.calls("GET", consume) {
				return forwarded()
			}
			out := r.forward()
			if out.status == 200 && r.nth(6, "consume") {
				return out.edit(func(o object) { o["message"] = "nobody sent this" }), true
			}
			return out, true
		},
	},
	{
		name: "a message is cut short", check: "phantom", text: "was never sent",
		plant: func(r *request) (answer, bool) {
			if !r.calls("POST", fetch) {
				return forwarded()
			}
			return r.forward().edit(func(o object) {
				if got := objects(o, "messages"); len(got) > 0 && r.nth(4, "fetch") {
					text := got[0]["data"].(string)
					got[0]["data"] = text[:len(text)-1]
				}
			}), true
		},
	},
	{
		name: "a produce is refused and stored", check: "phantom", text: "was refused, and is in the topic",
		plant: func(r *request) (answer, bool) {
			if !r.calls("POST", produce) || !r.nth(1, "produce") {
				return forwarded()
			}
			r.forward()
			return classicFailure(429, "rate_limited"), true
		},
	},
}

var readBugs = []bug{
	{
		name: "nothing is said to be left when something is", check: "stale", text: "was told that there is nothing",
		plant: func(r *request) (answer, bool) {
			if !r.calls("GET", consume) {
				return forwarded()
			}
			if r.counts["stale"]++; r.counts["stale"]%3 == 0 {
				return forwarded() // the message is delivered after all
			}
			size := r.send("GET", "/size?"+r.URL.RawQuery, "")
			if size.status == 200 && fields(size.body)["size"] != 0.0 {
				return classicFailure(400, "empty"), true
			}
			return forwarded()
		},
	},
	{
		name: "a size is stale", check: "size", text: "was said to have",
		plant: func(r *request) (answer, bool) {
			if !r.calls("GET", "/size") {
				return forwarded()
			}
			return r.forward().edit(func(o object) {
				if size, found := o["size"].(float64); found && size > 0 {
					o["size"] = size + 1000
				}
			}), true
		},
	},
	{
		name: "a size is 0", check: "size", text: "was said to have 0 messages",
		plant: func(r *request) (answer, bool) {
			zero := jsonAnswer(200, object{"status": "success", "size": 0})
			return zero, r.calls("GET", "/size") && !r.nth(20, "size") && r.counts["size"] < 20
		},
	},
	{
		name: "a get shows the next message", check: "replay", text: "where the topic has something else at the end",
		plant: func(r *request) (answer, bool) {
			var sequence int
			_, err := fmt.Sscanf(path.Base(r.URL.Path), "%d", &sequence)
			if err != nil || !strings.HasSuffix(path.Dir(r.URL.Path), messages) {
				return forwarded()
			}
			return r.send(r.Method, fmt.Sprintf("%s/%d", path.Dir(r.URL.Path), sequence+1), ""), true
		},
	},
	{
		name: "a browse leaves a message out", check: "replay", text: "has something else at the end",
		plant: func(r *request) (answer, bool) {
			if !browses(r) {
				return forwarded()
			}
			return r.forward().edit(func(o object) {
				if all := o["messages"].([]any); len(all) > 2 {
					o["messages"] = slices.Delete(all, 1, 2)
				}
			}), true
		},
	},
	{
		name: "a read is stale", check: "stale", text: "was stored, and was not read",
		plant: func(r *request) (answer, bool) {
			return jsonAnswer(200, object{"messages": []object{}, "next": 1}), browses(r)
		},
	},
}

// browses reports whether r is a browse, but not of the replay at the end.
func browses(r *request) bool {
	return r.calls("GET", messages) && !strings.Contains(r.URL.RawQuery, "limit=1000")
}

var appendBugs = []bug{
	{
		name: "an atomic batch is split", check: "atomic", text: "of an atomic batch are in the topic",
		plant: func(r *request) (answer, bool) {
			var batch []object
			atomic := r.calls("POST", messages) && r.URL.RawQuery == "atomic=true"
			if !atomic || json.Unmarshal([]byte(r.body), &batch) != nil || len(batch) < 2 || !r.nth(1, "split") {
				return forwarded()
			}
			part, _ := json.Marshal(batch[:1])
			r.send(r.Method, r.URL.Path, string(part))
			return jsonAnswer(503, object{"code": "unavailable"}), true
		},
	},
	{
		name: "an atomic batch is interrupted", check: "atomic", text: "do not follow each other",
		plant: func(r *request) (answer, bool) {
			var batch []object
			atomic := r.calls("POST", messages) && r.URL.RawQuery == "atomic=true"
			if !atomic || json.Unmarshal([]byte(r.body), &batch) != nil || len(batch) < 2 || !r.nth(1, "interrupted") {
				return forwarded()
			}
			batch = slices.Insert(batch, 1, object{"data": "nobody sent this"})
			body, _ := json.Marshal(batch)
			return r.send(r.Method, r.URL.RequestURI(), string(body)).edit(func(o object) {
				o["messages"] = slices.Delete(o["messages"].([]any), 1, 2)
			}), true
		},
	},
	{
		name: "a duplicate is not called one", check: "idempotent", text: "does not call it a duplicate",
		plant: func(r *request) (answer, bool) {
			if r.Header.Get("Idempotency-Key") == "" {
				return forwarded()
			}
			return r.forward().edit(func(o object) {
				for _, receipt := range objects(o, "messages") {
					delete(receipt, "duplicate")
				}
			}), true
		},
	},
	{
		name: "an idempotency key is forgotten", check: "idempotent", text: "is in the topic twice",
		plant: func(r *request) (answer, bool) {
			if r.Header.Get("Idempotency-Key") == "" {
				return forwarded()
			}
			r.Header.Del("Idempotency-Key")
			return r.forward(), true
		},
	},
}

var leaseBugs = []bug{
	{
		name: "an ack is lost", check: "ack", text: "and got it again",
		plant: func(r *request) (answer, bool) {
			return answer{status: http.StatusNoContent}, r.calls("POST", ack) && r.nth(2, "ack")
		},
	},
	{
		name: "an acked lease is delivered again", check: "ack", text: "and got it again",
		plant: redeliverAcked,
	},
	{
		name: "two workers have a lease", check: "lease", text: "",
		plant: deliverHeld,
	},
	{
		name: "a lease is said to be lost", check: "lease", text: "was told that it has not",
		plant: func(r *request) (answer, bool) {
			// Nine times: a slow worker may ack when its lease has run out.
			if !r.calls("POST", ack) || r.counts["ack"] == 9 {
				return forwarded()
			}
			if r.counts["ack"]++; r.counts["ack"] == 9 {
				return forwarded()
			}
			lost := object{"code": "lease_lost", "tokens": fields(r.body)["tokens"]}
			return jsonAnswer(http.StatusConflict, lost), true
		},
	},
}

// redeliverAcked keeps what is fetched, and delivers what was acknowledged of it
// eight times more: the first fetch may have been called before the ack.
func redeliverAcked(r *request) (answer, bool) {
	switch {
	case r.calls("POST", fetch):
		if acked, found := r.kept["acked "+r.URL.Path]; found && r.counts["again"] < 8 {
			r.counts["again"]++
			return acked, true
		}
		out := r.forward()
		for _, m := range objects(fields(out.body), "messages") {
			if token, found := m["token"].(string); found {
				r.kept[token] = out
			}
		}
		return out, true
	case r.calls("POST", ack):
		out := r.forward()
		if out.status == http.StatusNoContent {
			token := fields(r.body)["tokens"].([]any)[0].(string)
			r.kept["acked "+strings.TrimSuffix(r.URL.Path, ack)+fetch] = r.kept[token]
		}
		return out, true
	}
	return forwarded()
}

// deliverHeld delivers a message to a second worker as its next delivery. It does so
// eight times: the first worker may have acknowledged it.
func deliverHeld(r *request) (answer, bool) {
	if !r.calls("POST", fetch) {
		return forwarded()
	}
	if held, found := r.kept[r.URL.Path]; found && r.counts["held"] < 8 {
		r.counts["held"]++
		delete(r.kept, r.URL.Path)
		return held.edit(func(o object) {
			for _, m := range objects(o, "messages") {
				n, token := m["deliveries"].(float64)+1, m["token"].(string)
				m["deliveries"] = n
				m["token"] = fmt.Sprintf("%s-%d", token[:strings.LastIndex(token, "-")], int(n))
			}
		}), true
	}

	out := r.forward()
	if strings.Contains(out.body, "token") {
		r.kept[r.URL.Path] = out
	}
	return out, true
}

var idBugs = []bug{
	{
		name: "an id is given twice", check: "ids", text: "was given twice",
		plant: func(r *request) (answer, bool) {
			if !r.calls("POST", register) {
				return forwarded()
			}
			if before, found := r.kept["id"]; found && r.nth(3, "id") {
				return before, true
			}
			r.kept["id"] = r.forward()
			return r.kept["id"], true
		},
	},
	{
		name: "an id is skipped", check: "ids", text: "was skipped",
		plant: func(r *request) (answer, bool) {
			if r.calls("POST", register) && r.nth(7, "register") {
				r.forward()
			}
			return forwarded()
		},
	},
	{
		name: "ids are given in another order", check: "registry", text: "the producer ids are not those of a counter",
		plant: lowIDLater(register),
	},
	{
		name: "consumers get ids in another order", check: "registry", text: "the consumer ids are not those of a counter",
		plant: lowIDLater("/consumer/register"),
	},
	{
		name: "a topic is created twice", check: "names", text: "the topic",
		plant: func(r *request) (answer, bool) {
			if !r.calls("POST", "/topics") {
				return forwarded()
			}
			r.forward()
			return success, true
		},
	},
	{
		name: "a consumer with a name is created twice", check: "names", text: "consumer ",
		plant: func(r *request) (answer, bool) {
			if !r.calls("POST", "/consumers") || !strings.Contains(r.body, "race") {
				return forwarded()
			}
			out := r.forward()
			out.status = http.StatusCreated
			return out, true
		},
	},
}

// lowIDLater returns a bug that registers at an early call, and gives the id to a later
// one.
func lowIDLater(registration string) func(r *request) (answer, bool) {
	return func(r *request) (answer, bool) {
		if !r.calls("POST", registration) {
			return forwarded()
		}
		low, found := r.kept["low"]
		switch {
		case found && r.nth(12, "register"): // late enough that higher ids were answered before this call
			return low, true
		case !found && r.nth(2, "low"):
			r.kept["low"] = r.forward()
		}
		return forwarded()
	}
}

var answerBugs = []bug{
	{
		name: "a failure has the wrong code", check: "answers", text: "status 500 internal",
		plant: func(r *request) (answer, bool) {
			return classicFailure(500, "internal"), r.calls("GET", consume) && r.nth(3, "consume")
		},
	},
	{
		name: "a topic is forgotten", check: "answers", text: "topic_not_found",
		plant: func(r *request) (answer, bool) {
			return classicFailure(400, "topic_not_found"), r.calls("POST", produce) && r.nth(1, "produce")
		},
	},
}

// plantedGroups are the bugs of one run each: those that do not hide each other.
var plantedGroups = [][]string{
	{
		"an acked produce is dropped", "a produce is stored twice", "a produce is refused and stored",
		"a topic is forgotten", "a message is made up", "a message is cut short", "a size is stale",
		"a browse leaves a message out", "a topic is created twice", "an ack is lost",
	},
	{
		"a message of a batch is dropped", "a consumer skips a message", "an acked lease is delivered again",
		"a read is stale", "an id is given twice",
	},
	{
		"a consumed message is repeated", "two workers have a lease", "an id is skipped",
		"a consumer with a name is created twice",
	},
	{
		"an atomic batch is split", "an idempotency key is forgotten", "a lease is said to be lost",
		"ids are given in another order",
	},
	{"a failure has the wrong code", "a batch is stored in the opposite order"},
	{"a size is 0", "a get shows the next message", "an atomic batch is interrupted", "a duplicate is not called one"},
	{"consumers get ids in another order"},
	{"two messages are swapped"},
	{"nothing is said to be left when something is"}, // calls of unknown outcome would explain it
}

// withBugs returns a proxy with planted bugs.
func withBugs(t *testing.T, names ...string) *proxy {
	t.Helper()
	p := &proxy{}
	for _, name := range names {
		i := slices.IndexFunc(planted, func(b bug) bool { return b.name == name })
		require.GreaterOrEqual(t, i, 0, name)
		b := planted[i]
		p.bugs = append(p.bugs, &b)
	}
	return p
}

func TestVerify_PlantedBugsAreFound(t *testing.T) {
	t.Parallel()
	for i, group := range plantedGroups {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			p := withBugs(t, group...)

			result, replayed := runThrough(t, p, logOptions())

			assertFound(t, p, result, replayed)
		})
	}
}

func TestVerify_EveryPlantedBugIsTried(t *testing.T) {
	t.Parallel()
	var want []string
	for _, b := range planted {
		want = append(want, b.name)
	}

	tried := slices.Concat(plantedGroups...)

	assert.ElementsMatch(t, want, tried)
}

func TestVerify_EachCheckHasTwoPlantedBugs(t *testing.T) {
	t.Parallel()
	planted := slices.Clone(planted)
	for _, b := range sceneBugs {
		planted = append(planted, b.bug)
	}

	counts := map[string]int{"progress": 2} // tests of their own
	for _, b := range planted {
		counts[b.check]++
	}

	for _, name := range check.All {
		assert.GreaterOrEqual(t, counts[name], 2, name)
	}
}

func TestVerify_StreamThatLeavesAMessageOutIsFound(t *testing.T) {
	t.Parallel()
	events := 0
	p := &proxy{bugs: []*bug{{
		check: "lost", text: "never got",
		plant: func(*request) (answer, bool) { return forwarded() },
	}}}
	p.dropLine = func(line string) bool {
		if strings.HasPrefix(line, "data: {") {
			events++
		}
		return events%5 == 0 && events > 0 // not only the last event of a stream, which the client asks for again
	}

	result, replayed := runThrough(t, p, logOptions())

	assertFound(t, p, result, replayed)
}

func TestVerify_BrokerThatFailsForeverIsFound(t *testing.T) {
	t.Parallel()
	p := &proxy{bugs: []*bug{{
		check: "progress", text: "classic consumer is at the end",
		plant: func(r *request) (answer, bool) {
			return classicFailure(500, "unavailable"), r.calls("GET", consume)
		},
	}}}
	opts := logOptions()
	opts.Patience = 2 * time.Second

	result, replayed := runThrough(t, p, opts)

	assertFound(t, p, result, replayed)
}

func TestVerify_ConsumerThatNeverGetsToItsEndIsFound(t *testing.T) {
	t.Parallel()
	p := &proxy{bugs: []*bug{{
		check: "progress", text: "consumer in mode lease is at the end",
		plant: func(r *request) (answer, bool) {
			return jsonAnswer(200, object{"status": "success", "size": 1}), r.calls("GET", "/size")
		},
	}}}
	opts := logOptions()
	opts.Patience = 4 * time.Second // a busy machine needs more than one for other calls

	result, replayed := runThrough(t, p, opts)

	assertFound(t, p, result, replayed)
}

// logOptions are those of a run of the scene "log" only.
func logOptions() verify.Options {
	opts := options()
	opts.Scenes = []string{"log"}
	return opts
}

// runThrough makes a run of one round through the proxy. It returns what the run
// found, and what its history shows when it is checked again.
func runThrough(t *testing.T, p *proxy, opts verify.Options) (result, replayed *verify.Result) {
	t.Helper()
	b := brokertest.Start(t, brokertest.Config(""))
	var history bytes.Buffer
	opts.URLs, opts.Count, opts.History = []string{p.start(t, b.URL())}, 1, &history

	result, err := verify.Run(context.Background(), opts)
	require.NoError(t, err)
	replayed, err = verify.Replay(&history, false)
	require.NoError(t, err)
	return result, replayed
}

// assertFound asserts that both results have a violation for each bug of the proxy.
func assertFound(t *testing.T, p *proxy, result, replayed *verify.Result) {
	t.Helper()
	for _, bug := range p.bugs {
		shows := func(v check.Violation) bool { return v.Check == bug.check && strings.Contains(v.Text, bug.text) }
		i := slices.IndexFunc(result.Violations, shows)
		if !assert.GreaterOrEqual(t, i, 0, "%s: no violation of %s with %q:\n%s",
			bug.name, bug.check, bug.text, show(t, result)) {
			continue
		}
		assert.NotEmpty(t, result.Violations[i].Ops)
		assert.LessOrEqual(t, len(result.Violations[i].Ops), 6, "the violation has a small history")
		assert.True(t, slices.ContainsFunc(replayed.Violations, shows), "%s: the history shows it again", bug.name)
	}
}
