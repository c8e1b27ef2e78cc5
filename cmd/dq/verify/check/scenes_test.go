package check_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/verify/check"
	"dq/cmd/dq/verify/history"
)

// stories are good histories of scenes that have a check of their own, by the names of
// the scenes and of their checks.
var stories = map[string]func() *story{
	"life":     lifeStory,
	"purge":    purgeStory,
	"expected": expectedStory,
	"settings": settingsStory,
	"delayed":  delayedStory,
	"ttl":      ttlStory,
	"seek":     seekStory,
	"dropped":  droppedStory,
	"key":      keyStory,

	"deadletter": deadLetterStory,
	"pause":      pauseStory,
}

// newScene begins the history of a scene.
func newScene(name string) *story {
	s := &story{}
	s.add("scene", history.Op{Kind: history.OpScene, Name: name})
	return s
}

// appended is a successful call that appended messages, with the sequences from first.
func appended(first uint64, names ...string) history.Op {
	op := history.Op{Kind: history.OpAppend, Data: names}
	for i := range names {
		op.Receipts = append(op.Receipts, history.Receipt{Sequence: first + uint64(i)})
	}
	return op
}

// browsed is a successful call that read these messages, with the sequences from first.
func browsed(first uint64, names ...string) history.Op {
	op := history.Op{Kind: history.OpBrowse, From: 1, Limit: 1000}
	for i, m := range got(names...) {
		m.Sequence = first + uint64(i)
		op.Got = append(op.Got, m)
	}
	return op
}

// refused is a call of that kind that was refused.
func refused(kind string, status int, code string) history.Op {
	return history.Op{Kind: kind, Outcome: history.Refused, Status: status, Code: code}
}

func described(first, last uint64, settings history.Settings) history.Op {
	return history.Op{
		Kind: history.OpDescribeTopic, Settings: &settings,
		State: &history.State{Messages: last + 1 - first, First: first, Last: last},
	}
}

// addReplay adds the calls that read a whole topic at the end.
func (s *story) addReplay(names ...string) {
	all := browsed(1, names...)
	all.Final = true
	s.add("replay", all)
	s.add("end of replay", history.Op{Kind: history.OpBrowse, From: uint64(len(names) + 1), Limit: 1000, Final: true})
}

func lifeStory() *story {
	s := newScene("life")
	s.add("create", history.Op{Kind: history.OpEnsureTopic, Created: true})
	s.add("append", appended(1, "a"))
	s.add("browse", browsed(1, "a"))
	s.add("delete", history.Op{Kind: history.OpDeleteTopic})
	s.add("append nowhere", refused(history.OpAppend, 404, "topic_not_found"))
	s.labels["append nowhere"].Data = []string{"x"}
	s.add("create again", history.Op{Kind: history.OpCreateTopic})
	s.add("append again", appended(1, "b"))
	s.add("describe", described(1, 1, history.Settings{}))
	s.add("browse again", browsed(1, "b"))
	return s
}

func purgeStory() *story {
	s := newScene("purge")
	s.add("create", history.Op{Kind: history.OpEnsureTopic, Created: true})
	s.add("append", appended(1, "a"))
	s.add("append more", appended(2, "b", "c", "d"))
	s.add("purge", history.Op{Kind: history.OpPurge, UpTo: 2})
	s.add("browse", browsed(3, "c", "d"))
	s.add("size", history.Op{Kind: history.OpSize, Size: 2})
	s.add("fetch", history.Op{Kind: history.OpFetch, Limit: 1, Got: []history.Message{{Sequence: 3, Data: "c"}}})
	s.add("get", refused(history.OpGet, 404, "message_not_found"))
	s.labels["get"].From = 2
	s.add("purge all", history.Op{Kind: history.OpPurge})
	s.add("describe", described(5, 4, history.Settings{}))
	s.add("fetch nothing", history.Op{Kind: history.OpFetch, Limit: 1})
	return s
}

func expectedStory() *story {
	s := newScene("expected")
	s.add("append", appended(1, "a"))
	s.add("append expecting", appended(2, "b", "c"))
	s.labels["append expecting"].Expected, s.labels["append expecting"].Atomic = new(uint64(1)), true
	s.add("append wrongly", refused(history.OpAppend, 409, "wrong_last_sequence"))
	op := s.labels["append wrongly"]
	op.Data, op.Expected, op.Last = []string{"x"}, new(uint64(1)), new(uint64(3))
	s.addReplay("a", "b", "c")
	return s
}

func settingsStory() *story {
	s := newScene("settings")
	s.add("create", history.Op{Kind: history.OpEnsureTopic, Created: true})
	change := func(label string, settings history.Settings) {
		s.add(label, history.Op{Kind: history.OpChangeTopic, Settings: &settings})
	}
	s.add("append", appended(1, "a"))
	s.add("append more", appended(2, "b"))
	change("drop", history.Settings{MaxMessages: 1, WhenFull: "drop_oldest"})
	s.add("describe", described(2, 2, history.Settings{MaxMessages: 1, WhenFull: "drop_oldest"}))
	change("refuse", history.Settings{MaxMessages: 1, WhenFull: "refuse_new", MaxMessageBytes: 1000})
	s.add("append to full", refused(history.OpAppend, 429, "topic_full"))
	s.labels["append to full"].Data = []string{"x"}
	s.add("purge", history.Op{Kind: history.OpPurge})
	s.add("append after purge", appended(3, "c"))
	return s
}

func delayedStory() *story {
	s := newScene("delayed")
	s.add("append", history.Op{
		Kind: history.OpAppend, Data: []string{"a"}, Delay: 2 * time.Duration(step), Receipts: []history.Receipt{{}},
	})
	s.add("append at once", appended(1, "b"))
	s.add("browse early", browsed(1, "b"))
	s.add("browse", browsed(1, "b", "a"))
	s.addReplay("b", "a")
	return s
}

func ttlStory() *story {
	s := newScene("ttl")
	s.add("append", appended(1, "a"))
	s.labels["append"].TTL = 3 * time.Duration(step)
	s.add("append without", appended(2, "b"))
	s.add("browse early", browsed(1, "a", "b"))
	s.add("browse late", browsed(2, "b"))
	s.labels["browse late"].Call += 2 * step
	s.labels["browse late"].Return += 2 * step
	return s
}

func seekStory() *story {
	s := newScene("seek")
	s.add("create consumer", history.Op{Kind: history.OpCreateConsumer, ID: 1, Mode: "auto", First: true})
	s.add("create lease consumer", history.Op{
		Kind: history.OpCreateConsumer, ID: 2, Mode: "lease", Lease: time.Second, First: true,
	})
	s.add("append", appended(1, "a", "b", "c"))
	s.add("fetch", history.Op{Kind: history.OpFetch, ID: 1, Limit: 2, Got: browsed(1, "a", "b").Got})
	s.add("seek", history.Op{Kind: history.OpSeek, ID: 1, From: 2})
	s.add("fetch again", history.Op{Kind: history.OpFetch, ID: 1, Limit: 8, Got: browsed(2, "b", "c").Got})

	leased := []history.Message{{Sequence: 3, Data: "c", Token: "c1", Deliveries: 1}}
	s.add("seek leases", history.Op{Kind: history.OpSeek, ID: 2, From: 3})
	s.add("fetch leases", history.Op{Kind: history.OpFetch, ID: 2, Limit: 8, Got: leased})
	s.add("ack", history.Op{Kind: history.OpAck, ID: 2, Tokens: []string{"c1"}})
	s.add("size", history.Op{Kind: history.OpSize, ID: 2})
	s.addReplay("a", "b", "c")
	return s
}

func deadLetterStory() *story {
	s := newScene("deadletter")
	s.add("create consumer", history.Op{
		Kind: history.OpCreateConsumer, ID: 1, Mode: "lease", Lease: time.Second, Limit: 2,
	})
	delivered := func(count int, token string, sequence uint64, data string) history.Message {
		return history.Message{Sequence: sequence, Data: data, Token: token, Deliveries: count}
	}
	s.add("append", appended(1, "a", "b"))
	s.add("fetch", history.Op{Kind: history.OpFetch, ID: 1, Limit: 8, Got: []history.Message{
		delivered(1, "a1", 1, "a"), delivered(1, "b1", 2, "b"),
	}})
	s.add("nack", history.Op{Kind: history.OpNack, ID: 1, Tokens: []string{"a1"}})
	s.add("ack", history.Op{Kind: history.OpAck, ID: 1, Tokens: []string{"b1"}})
	s.add("fetch again", history.Op{Kind: history.OpFetch, ID: 1, Limit: 8, Got: []history.Message{
		delivered(2, "a2", 1, "a"),
	}})
	s.add("nack again", history.Op{Kind: history.OpNack, ID: 1, Tokens: []string{"a2"}})
	s.add("size", history.Op{Kind: history.OpSize, ID: 1})
	s.add("read dead", history.Op{Kind: history.OpReadDead, Got: []history.Message{{Sequence: 1, Data: "a",
		Headers: map[string]string{"Dq-Dead-Sequence": "1", "Dq-Dead-Deliveries": "2"}}}})
	s.addReplay("a", "b")
	return s
}

func keyStory() *story {
	s := newScene("keys")
	s.add("create consumer", history.Op{Kind: history.OpCreateConsumer, ID: 1, Mode: "auto", MessageKey: "k"})
	s.add("append", appended(1, "a"))
	s.add("append with key", appended(2, "b"))
	s.labels["append with key"].MessageKey = "k"
	s.add("fetch", history.Op{Kind: history.OpFetch, ID: 1, Limit: 8, Got: browsed(2, "b").Got})
	s.labels["fetch"].Got[0].Key = "k"
	s.add("fetch nothing", history.Op{Kind: history.OpFetch, ID: 1, Limit: 8})
	s.addReplay("a", "b")
	s.labels["replay"].Got[1].Key = "k"
	return s
}

func droppedStory() *story {
	s := newScene("dropped")
	s.add("append", appended(1, "a", "b", "c"))
	s.add("fetch", history.Op{Kind: history.OpFetch, ID: 1, Limit: 8, Got: browsed(3, "c").Got})
	s.add("create consumer", history.Op{Kind: history.OpCreateConsumer, ID: 1, Mode: "auto", Name: "n", Created: true})
	s.add("describe", history.Op{Kind: history.OpDescribeConsumer, ID: 1, Name: "n", Dropped: 2})
	return s
}

func pauseStory() *story {
	s := newScene("pause")
	s.add("create consumer", history.Op{Kind: history.OpCreateConsumer, ID: 1, Mode: "auto"})
	s.add("append", appended(1, "a"))
	s.add("pause", history.Op{Kind: history.OpPause, ID: 1, Delay: time.Minute})
	s.add("fetch nothing", history.Op{Kind: history.OpFetch, ID: 1, Limit: 8})
	s.add("resume", history.Op{Kind: history.OpResume, ID: 1})
	s.add("fetch", history.Op{Kind: history.OpFetch, ID: 1, Limit: 8, Got: browsed(1, "a").Got})
	s.addReplay("a")
	return s
}

func TestCheck_GoodScenesHaveNoViolation(t *testing.T) {
	t.Parallel()
	for name, tell := range stories {
		found := check.Topic("t", tell().ops)

		assert.Empty(t, texts(found), name)
		assert.Positive(t, found.Checked[name], "the history has something to check for %s", name)
	}
}

// badScenes are good scenes but for one change each.
var badScenes = []struct {
	check, text string
	change      func(s *story)
}{
	{"life", "the last of these answers about the topic, a append", func(s *story) {
		*s.labels["append nowhere"] = merged(*s.labels["append nowhere"], appended(2, "x"))
	}},
	{"life", "a is from before the topic was deleted", func(s *story) {
		s.labels["browse again"].Got = browsed(1, "a", "b").Got
	}},
	{"life", "the last of these answers about the topic, a append", func(s *story) {
		s.labels["append again"].Receipts[0].Sequence = 2
	}},
	{"purge", "the last of these answers about the topic, a browse", func(s *story) {
		s.labels["browse"].Got = browsed(2, "b", "c", "d").Got
	}},
	{"purge", "the last of these answers about the topic, a fetch", func(s *story) {
		s.labels["fetch nothing"].Got = browsed(4, "d").Got
	}},
	{"purge", "the last of these answers about the topic, a browse", func(s *story) {
		s.labels["browse"].Got = browsed(4, "d").Got
	}},
	{"purge", "the last of these answers about the topic, a size", func(s *story) { s.labels["size"].Size = 4 }},
	{"expected", "the last of these answers about the last sequence, a append", func(s *story) {
		s.labels["append expecting"].Expected = new(uint64(7))
	}},
	{"expected", "the last of these answers about the last sequence, a append", func(s *story) {
		s.labels["append wrongly"].Expected = new(uint64(3))
	}},
	{"settings", "the last of these answers about the limits of the topic, a describe topic", func(s *story) {
		s.labels["describe"].Settings.MaxMessages = 0
	}},
	{"settings", "the last of these answers about the limits of the topic, a append", func(s *story) {
		*s.labels["append to full"] = merged(*s.labels["append to full"], appended(3, "x"))
	}},
	{"settings", "the last of these answers about the limits of the topic, a append", func(s *story) {
		*s.labels["append after purge"] = refused(history.OpAppend, 413, "message_too_large")
		s.labels["append after purge"].Data = []string{"c"}
	}},
	{"delayed", "a was in the topic before its time", func(s *story) {
		s.labels["append"].Delay += time.Second
	}},
	{"ttl", "a was removed before its TTL", func(s *story) { s.labels["browse early"].Got = browsed(2, "b").Got }},
	{"ttl", "b was removed before its TTL of 0s", func(s *story) { s.labels["browse late"].Got = nil }},
	{"ttl", "a is there 10", func(s *story) {
		s.remove("browse late")
		s.add("browse", browsed(1, "a", "b"))
		s.labels["browse"].Call += int64(10*time.Second) + step
		s.labels["browse"].Return += int64(10*time.Second) + step
	}},
	{"ttl", "a was gone, and came back", func(s *story) {
		s.add("browse", browsed(1, "a", "b"))
		s.labels["browse"].Call += 2 * step
		s.labels["browse"].Return += 2 * step
	}},
	{"seek", "the last of these answers to consumer 1", func(s *story) {
		s.labels["fetch again"].Got = browsed(3, "c").Got
	}},
	{"seek", "consumer 2 was moved to sequence 3, and got b", func(s *story) {
		s.labels["fetch leases"].Got = []history.Message{{Sequence: 2, Data: "b", Token: "b1", Deliveries: 1}}
	}},
	{"seek", "consumer 2 was moved to sequence 3, and never got c after that", func(s *story) { s.remove("fetch leases") }},
	{"pause", "consumer 1 was paused for 1m0s, and got a", func(s *story) {
		s.labels["fetch nothing"].Got = browsed(1, "a").Got
	}},
	{"pause", "consumer 1 was resumed and told that there is nothing, and a was there", func(s *story) {
		s.labels["fetch"].Got = nil
	}},
	{"deadletter", "a was neither acknowledged nor is it a dead letter", func(s *story) { s.labels["read dead"].Got = nil }},
	{"deadletter", "a is in the dead-letter topic twice", func(s *story) { s.add("again", *s.labels["read dead"]) }},
	{"deadletter", "consumer 1 acknowledged b, and it is a dead letter", func(s *story) {
		s.labels["read dead"].Got = append(s.labels["read dead"].Got, history.Message{Data: "b"})
	}},
	{"deadletter", "says sequence 2 and 2 deliveries", func(s *story) {
		s.labels["read dead"].Got[0].Headers["Dq-Dead-Sequence"] = "2"
	}},
	{"deadletter", "may get a message 2 times, and got a as delivery 3", func(s *story) {
		s.labels["fetch again"].Got[0].Deliveries = 3
	}},
	{"deadletter", "a is a dead letter, and consumer 1 got it 1 times", func(s *story) { s.remove("fetch again") }},
	{"key", "was given to somebody who asked for key", func(s *story) {
		s.labels["fetch"].Got = append(browsed(1, "a").Got, s.labels["fetch"].Got...)
	}},
	{"key", `b was sent with key "k", and received with key ""`, func(s *story) { s.labels["fetch"].Got[0].Key = "" }},
	{"dropped", "1 messages were said to be dropped unread", func(s *story) { s.labels["describe"].Dropped = 1 }},
}

// merged returns the call with the outcome of another one.
func merged(call, outcome history.Op) history.Op {
	call.Outcome, call.Status, call.Code, call.Receipts = history.OK, 201, "", outcome.Receipts
	return call
}

func TestCheck_BadSceneViolatesItsCheck(t *testing.T) {
	t.Parallel()
	for _, bad := range badScenes {
		t.Run(bad.check+": "+bad.text, func(t *testing.T) {
			t.Parallel()
			tell := stories[bad.check]
			require.NotNil(t, tell)
			s := tell()
			bad.change(s)

			found := check.Topic("t", s.ops)

			var shown []string
			for _, v := range found.Violations {
				if v.Check == bad.check && strings.Contains(v.Text, bad.text) {
					shown = append(shown, v.Text)
					assert.NotEmpty(t, v.Ops, "it has the operations that show it")
				}
			}
			assert.NotEmpty(t, shown, "the violation is found, among %v", texts(found))
		})
	}
}
