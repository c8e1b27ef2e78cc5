package check

import (
	"net/http"

	"dq/cmd/dq/verify/history"
)

// allowed are the refusals that a call of this traffic may meet.
var allowed = map[string]string{
	history.OpCreateTopic:      "topic_exists",
	history.OpEnsureTopic:      "topic_not_found", // it answers with the description, and another may have deleted the topic
	history.OpDescribeTopic:    "topic_not_found",
	history.OpDeleteTopic:      "topic_not_found",
	history.OpDescribeConsumer: "consumer_not_found",
	history.OpConsume:          "empty",
	history.OpGet:              "message_not_found",
	history.OpAck:              "lease_lost",
	history.OpNack:             "lease_lost",
	history.OpExtend:           "lease_lost",
}

// checkAnswers checks that every refusal is one that the call may meet, and that
// every failure says what it is. It also looks for what did not come about.
func (h *topicHistory) checkAnswers() {
	for _, op := range h.ops {
		h.count(checkAnswers, 1)
		switch {
		case op.Kind == history.OpStuck:
			h.violated(checkProgress, []*history.Op{op}, "this did not come about: %s", op.Name)
		case op.Kind == history.OpProbe && op.Outcome == history.OK:
			h.violated(checkAnswers, []*history.Op{op}, "the call should have been refused with %s", op.Name)
		case op.Outcome == history.Refused && !history.TurnedAway(op) && op.Code != allowed[op.Kind] && !(op.Kind == history.OpProbe && op.Code == op.Name):
			h.violated(checkAnswers, []*history.Op{op}, "%s was refused with status %d %s", op.Kind, op.Status, op.Code)
		case op.Outcome == history.Unknown && op.Status > 0 && len(op.Receipt) == 0 && !failedWell(op):
			h.violated(checkAnswers, []*history.Op{op}, "%s was answered with status %d %s", op.Kind, op.Status, op.Code)
		}
	}
	h.count(checkProgress, 1)
}

// failedWell reports whether op failed as a call may: the broker could not do
// its work at that time.
func failedWell(op *history.Op) bool {
	if op.Code != "unavailable" {
		return false
	}
	return op.Status == http.StatusServiceUnavailable || op.Status == http.StatusInternalServerError && classic(op)
}

// classic reports whether op is a call of the classic API, which knows no 503.
func classic(op *history.Op) bool {
	switch op.Kind {
	case history.OpCreateTopic, history.OpRegisterProducer, history.OpRegisterConsumer, history.OpProduce, history.OpConsume, history.OpSize:
		return true
	}
	return op.Kind == history.OpProbe && op.Name != "invalid_field"
}
