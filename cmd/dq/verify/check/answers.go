package check

import (
	"net/http"

	"dq/cmd/dq/verify/history"
)

// topicNotFound is the code of a call on a topic that does not exist.
const topicNotFound = "topic_not_found"

// allowed are the error codes with which a call of this traffic may be refused. A
// topic may be deleted between the two steps of "ensure topic", which creates it
// and then describes it.
var allowed = map[string]string{
	history.OpCreateTopic:      "topic_exists",
	history.OpEnsureTopic:      topicNotFound,
	history.OpDescribeTopic:    topicNotFound,
	history.OpDeleteTopic:      topicNotFound,
	history.OpDescribeConsumer: "consumer_not_found",
	history.OpConsume:          "empty",
	history.OpGet:              "message_not_found",
	history.OpAck:              "lease_lost",
	history.OpNack:             "lease_lost",
	history.OpExtend:           "lease_lost",
}

// checkAnswers checks that every refusal is one that the call may get, and that
// every failure has the code of one. It also reports goals that were not reached.
func (h *topicHistory) checkAnswers() {
	for _, op := range h.ops {
		h.count(checkAnswers, 1)
		switch {
		case op.Kind == history.OpStuck:
			h.violated(checkProgress, proof{op}, "this was not reached: %s", op.Name)
		case op.Kind == history.OpProbe && op.Outcome == history.OK:
			h.violated(checkAnswers, proof{op}, "the call should have been refused with %s", op.Name)
		case op.Outcome == history.Refused && !h.mayBeRefused(op):
			h.violated(checkAnswers, proof{op}, "%s was refused with status %d %s", op.Kind, op.Status, op.Code)
		case op.Outcome == history.Unknown && !mayFail(op):
			h.violated(checkAnswers, proof{op}, "%s was answered with status %d %s", op.Kind, op.Status, op.Code)
		}
	}
	h.count(checkProgress, 1)
}

// mayBeRefused reports whether the refusal of op is one that the call may get.
func (h *topicHistory) mayBeRefused(op *history.Op) bool {
	switch {
	case op.Kind == history.OpProbe && op.Code == op.Name, op.TurnedAway(), op.Code == allowed[op.Kind]:
		return true
	case op.Kind != history.OpAppend && op.Kind != history.OpBrowse:
		return false
	}

	switch op.Code {
	case topicNotFound:
		return h.scene == "life"
	case "topic_full", "message_too_large":
		return h.scene == "settings"
	case "wrong_last_sequence":
		return op.Expected != nil
	}
	return false
}

// mayFail reports whether op, of unknown outcome, had no answer, one with receipts,
// or one that says that the broker could not do its work.
func mayFail(op *history.Op) bool {
	switch {
	case op.Status == 0 || len(op.Receipts) > 0:
		return true
	case op.Code != "unavailable":
		return false
	}
	return op.Status == http.StatusServiceUnavailable || op.Status == http.StatusInternalServerError && classic(op)
}

// classic reports whether op is a call of the classic API, which has no status 503.
func classic(op *history.Op) bool {
	switch op.Kind {
	case history.OpCreateTopic, history.OpRegisterProducer, history.OpRegisterConsumer,
		history.OpProduce, history.OpConsume, history.OpSize:
		return true
	}
	return op.Kind == history.OpProbe && op.Name != "invalid_field"
}
