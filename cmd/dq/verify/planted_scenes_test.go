package verify_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// sceneBug is a bug that the traffic of one scene must find.
type sceneBug struct {
	scene string
	bug
}

// sceneBugs are the bugs, by the check that must find them.
var sceneBugs = []sceneBug{
	{"life", bug{
		name: "a topic that does not exist takes a message", check: "life", text: "nothing explains the last of these",
		plant: func(r *request) (answer, bool) {
			out := r.forward()
			if r.calls("POST", messages) && out.status == http.StatusNotFound {
				return stored(1), true
			}
			return out, true
		},
	}},
	{"life", bug{
		name: "a topic has the messages of an earlier one", check: "life", text: "before the topic was deleted",
		plant: func(r *request) (answer, bool) {
			if !r.calls("GET", messages) {
				return forwarded()
			}
			old, found := r.kept["old"]
			if found {
				return old, true
			}
			out := r.forward()
			if len(objects(fields(out.body), "messages")) > 0 {
				r.kept["old"] = out
			}
			return out, true
		},
	}},
	{"delayed", bug{
		name: "a delayed message is in a topic that was created again", check: "life", text: "before the topic was deleted",
		plant: func(r *request) (answer, bool) {
			topic, isGone := strings.CutSuffix(r.URL.Path, messages)
			if isGone = isGone && strings.HasSuffix(topic, "-gone"); !isGone {
				return forwarded()
			}
			if r.Method == http.MethodPost {
				r.kept["old"] = answer{body: r.body}
				return r.forward(), true
			}
			var batch []object
			_ = json.Unmarshal([]byte(r.kept["old"].body), &batch)
			return jsonAnswer(200, object{"messages": []object{{"sequence": 1, "data": batch[0]["data"]}}, "next": 2}), true
		},
	}},
	{"purge", bug{
		name: "a purge is ignored", check: "purge", text: "",
		plant: func(r *request) (answer, bool) {
			return jsonAnswer(200, object{"purged": 0}), r.calls("DELETE", messages)
		},
	}},
	{"purge", bug{
		name: "a purge removes too much", check: "purge", text: "",
		plant: func(r *request) (answer, bool) {
			if !r.calls("DELETE", messages) {
				return forwarded()
			}
			return r.send("DELETE", r.URL.Path, ""), true
		},
	}},
	{"expected", bug{
		name: "an expected sequence is ignored", check: "expected", text: "a append",
		plant: func(r *request) (answer, bool) {
			if !r.calls("POST", messages) {
				return forwarded()
			}
			return r.send(r.Method, r.URL.Path+"?atomic=true", r.body), true
		},
	}},
	{"expected", bug{
		name: "a message with the right expected sequence is refused", check: "expected", text: "a append",
		plant: func(r *request) (answer, bool) {
			expected := r.URL.Query().Get("expected_last_sequence")
			var last int
			_ = json.Unmarshal([]byte(expected), &last)
			wrong := object{"code": "wrong_last_sequence", "last_sequence": last}
			return jsonAnswer(http.StatusConflict, wrong), expected != "" && r.nth(2, "expected")
		},
	}},
	{"settings", bug{
		name: "changed settings are ignored", check: "settings", text: "",
		plant: func(r *request) (answer, bool) {
			if r.Method != http.MethodPatch {
				return forwarded()
			}
			return r.send("GET", r.URL.Path, ""), true
		},
	}},
	{"settings", bug{
		name: "a broker has old settings", check: "settings", text: "a describe topic",
		plant: func(r *request) (answer, bool) {
			if r.Method != http.MethodGet {
				return forwarded()
			}
			if _, found := r.kept["old"]; !found {
				r.kept["old"] = r.forward()
			}
			return r.kept["old"], true
		},
	}},
	{"delayed", bug{
		name: "a delay is ignored", check: "delayed", text: "before its time",
		plant: rewrite("delay", nil),
	}},
	{"delayed", bug{
		name: "a delay is too short", check: "delayed", text: "before its time",
		plant: rewrite("delay", "1ms"),
	}},
	{"delayed", bug{
		name: "delayed messages have keys of their own", check: "idempotent", text: "is in the topic twice",
		plant: func(r *request) (answer, bool) {
			if !strings.Contains(r.body, `"delay"`) {
				return forwarded()
			}
			r.Header.Del("Idempotency-Key")
			return r.forward(), true
		},
	}},
	{"delayed", bug{
		name: "delayed messages are thrown away", check: "lost", text: "is not in the topic",
		plant: func(r *request) (answer, bool) {
			if !strings.Contains(r.body, `"delay"`) {
				return forwarded()
			}
			receipts := make([]object, strings.Count(r.body, `"delay"`))
			return jsonAnswer(http.StatusAccepted, object{"messages": receipts}), true
		},
	}},
	{"seek", bug{
		name: "a seek is ignored", check: "seek", text: "",
		plant: ignore("/seek"),
	}},
	{"seek", bug{
		name: "a seek leaves a message out", check: "seek", text: "",
		plant: func(r *request) (answer, bool) {
			if !r.calls("POST", "/seek") {
				return forwarded()
			}
			body, _ := json.Marshal(object{"to": fields(r.body)["to"].(float64) + 1})
			return r.send(r.Method, r.URL.Path, string(body)), true
		},
	}},
	{"pause", bug{
		name: "a pause is ignored", check: "pause", text: "was paused for",
		plant: ignore("/pause"),
	}},
	{"pause", bug{
		name: "a resume is ignored", check: "pause", text: "was resumed and told that there is nothing",
		plant: ignore("/resume"),
	}},
	{"deadletter", bug{
		name: "dead letters are thrown away", check: "deadletter", text: "neither acknowledged nor is it a dead letter",
		plant: func(r *request) (answer, bool) {
			return jsonAnswer(200, object{"messages": []object{}, "next": 1}), isDeadRead(r)
		},
	}},
	{"deadletter", bug{
		name: "a limit of deliveries is ignored", check: "deadletter", text: "may get a message 2 times",
		plant: func(r *request) (answer, bool) {
			if !r.calls("POST", "/consumers") {
				return forwarded()
			}
			body := fields(r.body)
			body["max_deliveries"] = 3
			text, _ := json.Marshal(body)
			return r.send(r.Method, r.URL.Path, string(text)), true
		},
	}},
	{"deadletter", bug{
		name: "an acknowledged message is a dead letter", check: "deadletter", text: "and it is a dead letter",
		plant: func(r *request) (answer, bool) { return answer{status: http.StatusNoContent}, r.calls("POST", ack) },
	}},
	{"deadletter", bug{
		name: "a dead letter is stored twice", check: "deadletter", text: "is in the dead-letter topic twice",
		plant: func(r *request) (answer, bool) {
			if !isDeadRead(r) {
				return forwarded()
			}
			return r.forward().edit(func(o object) {
				if all := o["messages"].([]any); len(all) > 0 {
					o["messages"] = append(all, all[0])
				}
			}), true
		},
	}},
	{"keys", bug{
		name: "a consumer gets other keys", check: "key", text: "was given to somebody who asked for key",
		plant: func(r *request) (answer, bool) {
			if !r.calls("POST", "/consumers") {
				return forwarded()
			}
			body := fields(r.body)
			delete(body, "key")
			text, _ := json.Marshal(body)
			return r.send(r.Method, r.URL.Path, string(text)), true
		},
	}},
	{"keys", bug{
		name: "a key is not stored", check: "key", text: "and received with key",
		plant: rewrite("key", nil),
	}},
	{"keys", bug{
		name: "a browse shows other keys", check: "key", text: "was given to somebody who asked for key",
		plant: func(r *request) (answer, bool) {
			if !browses(r) {
				return forwarded()
			}
			query := r.URL.Query()
			query.Del("key")
			return r.send(r.Method, r.URL.Path+"?"+query.Encode(), ""), true
		},
	}},
	{"dropped", bug{
		name: "dropped messages are not counted", check: "dropped", text: "0 messages were said to be dropped unread",
		plant: editDropped(func(float64) float64 { return 0 }),
	}},
	{"dropped", bug{
		name: "too many messages are counted as dropped", check: "dropped", text: "messages were said to be dropped unread",
		plant: editDropped(func(n float64) float64 { return n + 1 }),
	}},
	{"ttl", bug{
		name: "a TTL is ignored", check: "ttl", text: "after its TTL",
		plant: rewrite("ttl", nil),
	}},
	{"ttl", bug{
		name: "every message has a TTL", check: "ttl", text: "before its TTL of 0s",
		plant: rewrite("ttl", "1s"),
	}},
}

// editDropped returns a bug that changes the number of messages that a consumer is said
// to have missed.
func editDropped(change func(float64) float64) func(r *request) (answer, bool) {
	return func(r *request) (answer, bool) {
		if !r.calls("GET", "/consumers/slow") {
			return forwarded()
		}
		return r.forward().edit(func(o object) {
			n, _ := o["dropped_unread"].(float64)
			o["dropped_unread"] = change(n)
		}), true
	}
}

// isDeadRead reports whether r reads the dead-letter topic.
func isDeadRead(r *request) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "-dead"+messages)
}

// stored is the answer to a message that was stored at that sequence.
func stored(sequence int) answer {
	return jsonAnswer(http.StatusCreated, object{"messages": []object{{"sequence": sequence}}})
}

// ignore returns a bug that answers a call of a consumer as if it had been done.
func ignore(call string) func(r *request) (answer, bool) {
	return func(r *request) (answer, bool) {
		consumer, found := strings.CutSuffix(r.URL.Path, call)
		if !found {
			return forwarded()
		}
		return r.send("GET", consumer, ""), true
	}
}

// rewrite returns a bug that changes a field of all messages that are appended, or
// removes it if the value is nil.
func rewrite(field string, value any) func(r *request) (answer, bool) {
	return func(r *request) (answer, bool) {
		var batch []object
		if !r.calls("POST", messages) || json.Unmarshal([]byte(r.body), &batch) != nil {
			return forwarded()
		}
		for _, message := range batch {
			if delete(message, field); value != nil {
				message[field] = value
			}
		}
		body, _ := json.Marshal(batch)
		return r.send(r.Method, r.URL.RequestURI(), string(body)), true
	}
}

func TestVerify_BugsPlantedInScenesAreFound(t *testing.T) {
	t.Parallel()
	for _, planted := range sceneBugs {
		t.Run(planted.name, func(t *testing.T) {
			t.Parallel()
			b := planted.bug
			p := &proxy{bugs: []*bug{&b}}
			opts := options()
			opts.Scenes = []string{planted.scene}
			opts.Patience = 13 * time.Second // longer than a message may be there after its TTL
			if b.check == "lost" {
				opts.Patience = 3 * time.Second
			}

			result, replayed := runThrough(t, p, opts)

			assertFound(t, p, result, replayed)
		})
	}
}

func TestVerify_SocketThatSwallowsAcksIsFound(t *testing.T) {
	t.Parallel()
	p := &proxy{bugs: []*bug{{
		check: "ack", text: "and got it again", plant: func(*request) (answer, bool) { return forwarded() },
	}}}
	acks := 0
	p.socketText = func(text string) string {
		if acks++; fields(text)["type"] != "ack" || acks%10 > 0 {
			return ""
		}
		return jsonAnswer(0, object{"type": "ok", "id": fields(text)["id"]}).body
	}
	opts := options()
	opts.Scenes = []string{"socket"}

	result, replayed := runThrough(t, p, opts)

	assertFound(t, p, result, replayed)
}

func TestVerify_SocketThatSendsWhatNobodyAskedForIsFound(t *testing.T) {
	t.Parallel()
	p := &proxy{bugs: []*bug{{
		check: "answers", text: "socket was answered with", plant: func(*request) (answer, bool) { return forwarded() },
	}}}
	texts := 0
	p.socketText = func(text string) string {
		if texts++; fields(text)["type"] != "ack" || texts%10 > 0 {
			return ""
		}
		return jsonAnswer(0, object{"type": "ok", "id": 7777}).body
	}
	opts := options()
	opts.Scenes = []string{"socket"}

	result, replayed := runThrough(t, p, opts)

	assertFound(t, p, result, replayed)
}
