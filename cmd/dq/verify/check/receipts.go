package check

import (
	"slices"

	"dq/cmd/dq/verify/history"
)

// checkReceipts checks the sequences of receipts, and whether they call exactly
// those messages duplicates that were stored before.
func (h *topicHistory) checkReceipts() {
	for data, s := range h.sends {
		if s.ops[0].Key != "" {
			h.count(checkIdempotent, 1)
		}
		for _, op := range s.ops {
			if op.Kind == history.OpAppend && op.Outcome == history.OK {
				h.checkReceipt(op, data, s)
			}
		}
	}
}

// checkReceipt checks the receipt that op has for a message.
func (h *topicHistory) checkReceipt(op *history.Op, data string, s *send) {
	receipt := op.Receipts[slices.Index(op.Data, data)]
	isDelayed := func(op *history.Op) bool { return op.Delay > 0 }
	later := receipt.Sequence == 0 && slices.ContainsFunc(s.ops, isDelayed) // it repeats one that waits
	if index, found := h.index[data]; found && !later && receipt.Sequence != h.log[index].sequence {
		h.violated(checkReplay, proof{op, h.replay},
			"the receipt of %s says sequence %d, and it is at %d", data, receipt.Sequence, h.log[index].sequence)
	}

	before := s.earlier(op, data)
	switch {
	case before != nil && !receipt.Duplicate:
		h.violated(checkIdempotent, proof{before, op},
			"%s was stored, and its second receipt does not call it a duplicate", data)
	case before == nil && receipt.Duplicate && len(s.ops) == 1:
		h.violated(checkIdempotent, proof{op}, "%s was sent once, and its receipt calls it a duplicate", data)
	}
}

// earlier returns a call before op that sent the message, at once or delayed, and
// succeeded; nil without one.
func (s *send) earlier(op *history.Op, data string) *history.Op {
	for _, other := range s.ops {
		if other.Return < op.Call && outcomeOf(other, slices.Index(other.Data, data)) == history.OK {
			return other
		}
	}
	return nil
}
