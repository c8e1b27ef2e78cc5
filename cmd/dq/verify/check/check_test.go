package check_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dq/cmd/dq/verify/check"
	"dq/cmd/dq/verify/history"
)

// idChecks are the checks of [check.IDs]; all others are of [check.Topic].
var idChecks = []string{"ids", "registry"}

func TestCheck_GoodHistoryHasNoViolation(t *testing.T) {
	t.Parallel()
	s := goodStory()

	found := check.Topic("t", s.ops)

	assert.Empty(t, found.Violations)
	for _, name := range check.All {
		if !slices.Contains(idChecks, name) && stories[name] == nil {
			assert.Positive(t, found.Checked[name], "the history has something to check for %s", name)
		}
	}
}

// badHistories are good but for one change each.
var badHistories = []struct {
	check, text string
	change      func(s *story)
}{
	{check: "lost", text: "z was answered with success, and is not in the topic", change: func(s *story) {
		s.add("produce z", history.Op{Kind: history.OpProduce, Data: []string{"z"}})
	}},
	{check: "lost", text: "consumer 0 never got c", change: func(s *story) {
		s.remove("consume c")
	}},
	{check: "lost", text: "b was never acknowledged", change: func(s *story) {
		s.labels["ack all"].Tokens = []string{"a2", "c1", "d1"}
	}},
	{check: "duplicate", text: "c is in the topic twice, at 3 and 5", change: func(s *story) {
		s.labels["replay"].Got = append(s.labels["replay"].Got, history.Message{Sequence: 5, Data: "c"})
	}},
	{check: "duplicate", text: "consumer 0 got c twice", change: func(s *story) {
		s.add("consume c again", history.Op{Kind: history.OpConsume, ID: 0, Limit: 1, Got: got("c")})
	}},
	{check: "phantom", text: "ghost was never sent to this topic, and was received", change: func(s *story) {
		s.labels["consume c"].Got = got("ghost")
	}},
	{check: "phantom", text: "ghost was never sent to this topic, and is in it", change: func(s *story) {
		s.labels["replay"].Got = append(s.labels["replay"].Got, history.Message{Sequence: 5, Data: "ghost"})
	}},
	{check: "phantom", text: "a was refused, and is in the topic", change: func(s *story) {
		op := s.labels["produce a"]
		op.Outcome, op.Status, op.Code = history.Refused, 429, "rate_limited"
	}},
	{check: "phantom", text: "consumer 0 got a, which was stored before it was registered", change: func(s *story) {
		s.add("register late", *s.labels["register consumer"])
		s.remove("register consumer")
		s.insertBefore("append b c")
	}},
	{check: "order", text: "a is before b in the topic, and was sent when that was already", change: func(s *story) {
		a, b := s.labels["produce a"], s.labels["append b c"]
		a.Call, a.Return, b.Call, b.Return = b.Call, b.Return, a.Call, a.Return
	}},
	{check: "order", text: "consumer 0 got a after b", change: func(s *story) {
		s.labels["consume a"].Got, s.labels["consume b"].Got = got("b"), got("a")
	}},
	{check: "order", text: "the messages of a batch are not in its order", change: func(s *story) {
		op := s.labels["append b c"]
		op.Atomic, op.Data = false, []string{"c", "b"}
	}},
	{check: "stale", text: "consumer 0 was told that there is nothing, and d was there", change: func(s *story) {
		s.add("too early", *s.labels["consume nothing"])
		s.insertBefore("consume d")
	}},
	{check: "stale", text: "a waited to be delivered again", change: func(s *story) {
		s.add("too early", *s.labels["fetch nothing"])
		s.insertBefore("fetch a again")
	}},
	{check: "stale", text: "d was stored, and was not read", change: func(s *story) {
		s.labels["browse"].Got = got("b", "c")
	}},
	{check: "stale", text: "b was stored, and was not read", change: func(s *story) {
		op := s.labels["get"]
		op.Outcome, op.Status, op.Code, op.Got = history.Refused, 404, "message_not_found", nil
	}},
	{check: "size", text: "consumer 0 was said to have 3 messages, and had 0 to 0", change: func(s *story) {
		s.labels["size of auto"].Size = 3
	}},
	{check: "size", text: "consumer 1 was said to have 1 messages, and had 0 to 0", change: func(s *story) {
		s.labels["size of lease"].Size = 1
	}},
	{check: "replay", text: "d was read where the topic has something else", change: func(s *story) {
		s.labels["browse"].Got = got("b", "d")
	}},
	{check: "replay", text: "c was read at 2, where the topic has something else", change: func(s *story) {
		s.labels["get"].Got = got("c")
	}},
	{check: "replay", text: "d had sequence 9, and has 4 at the end", change: func(s *story) {
		s.labels["fetch all"].Got[3].Sequence = 9
	}},
	{check: "replay", text: "the receipt of c says sequence 7, and it is at 3", change: func(s *story) {
		s.labels["append b c"].Receipts[1].Sequence = 7
	}},
	{check: "replay", text: "d was received, and is not in the topic", change: func(s *story) {
		s.labels["replay"].Got = s.labels["replay"].Got[:3]
	}},
	{check: "atomic", text: "1 of the 2 messages of an atomic batch are in the topic", change: func(s *story) {
		s.labels["replay"].Got = s.labels["replay"].Got[:2]
	}},
	{check: "atomic", text: "do not follow each other", change: func(s *story) {
		all := s.labels["replay"].Got
		all[2].Data, all[3].Data = "d", "c"
	}},
	{check: "idempotent", text: "d is in the topic twice", change: func(s *story) {
		s.labels["replay"].Got = append(s.labels["replay"].Got, history.Message{Sequence: 5, Data: "d"})
	}},
	{check: "idempotent", text: "its second receipt does not call it a duplicate", change: func(s *story) {
		s.labels["append d again"].Receipts[0].Duplicate = false
	}},
	{check: "idempotent", text: "c was sent once, and its receipt calls it a duplicate", change: func(s *story) {
		s.labels["append b c"].Receipts[1].Duplicate = true
	}},
	{check: "lease", text: "delivered a while another worker had a lease on it", change: func(s *story) {
		s.remove("nack a")
	}},
	{check: "lease", text: "had a lease on a, and was told that it has not", change: func(s *story) {
		op := s.labels["nack a"]
		op.Outcome, op.Status, op.Code, op.LostTokens = history.Refused, 409, "lease_lost", []string{"a1"}
	}},
	{check: "lease", text: "delivered a with two tokens as delivery 1", change: func(s *story) {
		s.labels["fetch a again"].Got[0].Deliveries = 1
	}},
	{check: "lease", text: "only 0 fetches were not answered", change: func(s *story) {
		s.labels["fetch a again"].Got[0].Deliveries = 5
	}},
	{check: "ack", text: "consumer 1 acknowledged b, and got it again", change: func(s *story) {
		s.labels["fetch nothing"].Got = []history.Message{{Sequence: 2, Data: "b", Token: "b2", Deliveries: 2}}
	}},
	{check: "ack", text: "consumer 1 acknowledged b, and got it again", change: func(s *story) {
		s.labels["fetch nothing"].Got = []history.Message{{Sequence: 2, Data: "b", Token: "b1", Deliveries: 1}}
	}},
	{check: "names", text: "what was said of the topic", change: func(s *story) {
		s.add("create topic again", history.Op{Kind: history.OpCreateTopic})
	}},
	{check: "names", text: "what was said of consumer n", change: func(s *story) {
		s.add("create consumer again", *s.labels["create lease consumer"])
	}},
	{check: "names", text: "what was said of consumer n", change: func(s *story) {
		s.add("describe consumer", history.Op{Kind: history.OpDescribeConsumer, Name: "n", ID: 7})
	}},
	{check: "answers", text: "consume was refused with status 404 topic_not_found", change: func(s *story) {
		op := s.labels["consume nothing"]
		op.Status, op.Code = 404, "topic_not_found"
	}},
	{check: "answers", text: "the call should have been refused with producer_not_found", change: func(s *story) {
		op := s.labels["probe"]
		op.Outcome, op.Status, op.Code = history.OK, 200, ""
	}},
	{check: "answers", text: "fetch was answered with status 500 unavailable", change: func(s *story) {
		op := s.labels["fetch nothing"]
		op.Outcome, op.Status, op.Code = history.Unknown, 500, "unavailable"
	}},
	{check: "progress", text: "this was not reached: a consumer is at the end", change: func(s *story) {
		s.add("stuck", history.Op{Kind: history.OpStuck, Name: "a consumer is at the end"})
	}},
}

func TestCheck_BadHistoryViolatesItsCheck(t *testing.T) {
	t.Parallel()
	for _, bad := range badHistories {
		t.Run(bad.check+": "+bad.text, func(t *testing.T) {
			t.Parallel()
			s := goodStory()
			bad.change(s)

			found := check.Topic("t", s.ops)

			i := slices.IndexFunc(found.Violations, func(v check.Violation) bool {
				return v.Check == bad.check && strings.Contains(v.Text, bad.text)
			})
			require.GreaterOrEqual(t, i, 0, "the violation is found, among %v", texts(found))
			assert.Equal(t, "t", found.Violations[i].Topic)
			assert.NotEmpty(t, found.Violations[i].Ops, "it has the operations that show it")
		})
	}
}

func texts(found *check.Findings) (all []string) {
	for _, v := range found.Violations {
		all = append(all, v.Check+": "+v.Text)
	}
	return all
}

func TestCheck_EveryCheckHasABadHistory(t *testing.T) {
	t.Parallel()
	tried := make(map[string]bool)
	for _, name := range idChecks {
		tried[name] = true
	}

	for _, bad := range badHistories {
		tried[bad.check] = true
	}
	for _, bad := range badScenes {
		tried[bad.check] = true
	}

	for _, name := range check.All {
		assert.True(t, tried[name], name)
	}
}

func TestCheck_UnansweredCallsExplainWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := goodStory()
	op := s.labels["consume c"]
	op.Outcome, op.Status, op.Code, op.Got = history.Unknown, 0, "no_answer", nil

	found := check.Topic("t", s.ops)

	assert.Empty(t, texts(found), "the lost answer may have had the message")
}

func TestCheck_TopicThatWasNotReadToItsEndHasItsAnswersChecked(t *testing.T) {
	t.Parallel()
	s := goodStory()
	s.remove("end of replay")
	s.remove("consume c")
	s.add("stuck", history.Op{Kind: history.OpStuck, Name: "the topic is read to its end"})

	found := check.Topic("t", s.ops)

	assert.Equal(t, []string{"progress: this was not reached: the topic is read to its end"}, texts(found))
	assert.Zero(t, found.Checked["lost"])
	assert.Positive(t, found.Checked["answers"])
}

func TestFindings_MergeAddsCountsAndViolations(t *testing.T) {
	t.Parallel()
	one, other := check.NewFindings(), check.NewFindings()
	one.Checked["lost"] = 1
	other.Checked["lost"], other.Checked["size"] = 2, 3
	other.Violations = []check.Violation{{Check: "size", Text: "wrong"}}

	one.Merge(other)

	assert.Equal(t, map[string]int64{"lost": 3, "size": 3}, one.Checked)
	assert.Equal(t, other.Violations, one.Violations)
}
