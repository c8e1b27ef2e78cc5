package check

import "dq/cmd/dq/verify/history"

// checkExpected checks that a message which demands a last sequence is stored if and
// only if that is the last sequence.
func (h *topicHistory) checkExpected() {
	m := machine[uint64]{next: nextLastSequence}
	checkMachine(h, checkExpected, "the last sequence", m, history.OpAppend)
}

// nextLastSequence is the model: its state is the last sequence of the topic.
func nextLastSequence(last uint64, op *history.Op) []uint64 {
	met := op.Expected == nil || *op.Expected == last
	switch {
	case op.Code == "wrong_last_sequence":
		named := op.Last == nil || *op.Last == last
		return onlyIf(!met && named, last)
	case op.Outcome == history.Unknown && !met:
		return []uint64{last}
	case !met:
		return nil
	}
	return nextAppend(op, last, last, last+uint64(len(op.Data)))
}
