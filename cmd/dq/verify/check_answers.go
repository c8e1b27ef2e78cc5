package verify

import "net/http"

// allowed are the refusals that a call of this traffic may meet.
var allowed = map[string]string{
	opCreateTopic:      "topic_exists",
	opEnsureTopic:      "topic_not_found", // it answers with the description, and another may have deleted the topic
	opDescribeTopic:    "topic_not_found",
	opDeleteTopic:      "topic_not_found",
	opDescribeConsumer: "consumer_not_found",
	opConsume:          "empty",
	opGet:              "message_not_found",
	opAck:              "lease_lost",
	opNack:             "lease_lost",
	opExtend:           "lease_lost",
}

// checkAnswers checks that every refusal is one that the call may meet, and that
// every failure says what it is. It also looks for what did not come about.
func (h *history) checkAnswers() {
	for _, op := range h.ops {
		h.count(checkAnswers, 1)
		switch {
		case op.Kind == opStuck:
			h.violated(checkProgress, []*Op{op}, "this did not come about: %s", op.Name)
		case op.Kind == opProbe && op.Outcome == ok:
			h.violated(checkAnswers, []*Op{op}, "the call should have been refused with %s", op.Name)
		case op.Outcome == refused && !turnedAway(op) && op.Code != allowed[op.Kind] && !(op.Kind == opProbe && op.Code == op.Name):
			h.violated(checkAnswers, []*Op{op}, "%s was refused with status %d %s", op.Kind, op.Status, op.Code)
		case op.Outcome == unknown && op.Status > 0 && len(op.Receipt) == 0 && !failedWell(op):
			h.violated(checkAnswers, []*Op{op}, "%s was answered with status %d %s", op.Kind, op.Status, op.Code)
		}
	}
	h.count(checkProgress, 1)
}

// failedWell reports whether op failed as a call may: the broker could not do
// its work at that time.
func failedWell(op *Op) bool {
	if op.Code != "unavailable" {
		return false
	}
	return op.Status == http.StatusServiceUnavailable || op.Status == http.StatusInternalServerError && classic(op)
}

// classic reports whether op is a call of the classic API, which knows no 503.
func classic(op *Op) bool {
	switch op.Kind {
	case opCreateTopic, opRegisterProducer, opRegisterConsumer, opProduce, opConsume, opSize:
		return true
	}
	return op.Kind == opProbe && op.Name != "invalid_field"
}
