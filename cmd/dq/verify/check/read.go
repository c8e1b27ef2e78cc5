package check

import (
	"sort"

	"dq/cmd/dq/verify/history"
)

// checkReads checks what was read by sequence, without a consumer: it is the same
// as at the end, nothing is left out, and everything that was stored by then is
// in it.
func (h *topicHistory) checkReads() {
	for _, op := range h.ops {
		switch {
		case op.Kind == history.OpBrowse && op.Outcome == history.OK && !op.Final:
			view := h
			if op.MessageKey != "" {
				view = h.withKey(op.MessageKey)
			}
			view.checkBrowse(op)
		case op.Kind == history.OpGet && (op.Outcome == history.OK || op.Code == "message_not_found"):
			h.checkGet(op)
		}
	}
}

// indexOf returns the index of the first message with that sequence or a higher
// one, the length of the log without any.
func (h *topicHistory) indexOf(sequence uint64) int {
	return sort.Search(len(h.log), func(i int) bool { return h.log[i].sequence >= sequence })
}

func (h *topicHistory) checkBrowse(op *history.Op) {
	h.count(checkReplay, len(op.Got))
	next := h.indexOf(op.From)
	for _, m := range op.Got {
		if next == len(h.log) || h.log[next].data != m.Data {
			h.violated(checkReplay, proof{op, h.replay},
				"%s was read where the topic has something else at the end", m.Data)
			return
		}
		next++
	}

	h.count(checkStale, 1)
	if stored := h.storedBefore(op.Call); len(op.Got) < op.Limit && next < stored {
		h.violated(checkStale, proof{h.log[next].proof, h.log[stored-1].proof, op},
			"%s was stored, and was not read", h.log[next].data)
	}
}

func (h *topicHistory) checkGet(op *history.Op) {
	h.count(checkReplay, 1)
	index := h.indexOf(op.From)
	found := index < len(h.log) && h.log[index].sequence == op.From

	switch {
	case op.Outcome == history.OK && (!found || h.log[index].data != op.Got[0].Data):
		h.violated(checkReplay, proof{op, h.replay},
			"%s was read at %d, where the topic has something else at the end", op.Got[0].Data, op.From)
	case op.Outcome != history.OK && found && index < h.storedBefore(op.Call):
		h.violated(checkStale, proof{h.log[index].proof, op}, "%s was stored, and was not read", h.log[index].data)
	}
}
