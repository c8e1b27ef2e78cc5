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
	if index, found := h.index[data]; found && op.Delay == 0 && receipt.Sequence != h.log[index].sequence {
		h.violated(checkReplay, proof{op, h.replay},
			"the receipt of %s says sequence %d, and it is at %d", data, receipt.Sequence, h.log[index].sequence)
	}

	repeated := s.succeeded < op.Call
	switch {
	case repeated && !receipt.Duplicate:
		h.violated(checkIdempotent, proof{s.success, op},
			"%s was stored, and its second receipt does not call it a duplicate", data)
	case !repeated && receipt.Duplicate && len(s.ops) == 1:
		h.violated(checkIdempotent, proof{op}, "%s was sent once, and its receipt calls it a duplicate", data)
	}
}
