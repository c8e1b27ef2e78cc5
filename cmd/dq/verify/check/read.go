package check

import (
	"sort"

	"dq/cmd/dq/verify/history"
)

// checkReads checks what was read by sequence, without a consumer: the same as
// at the end, nothing left out, and everything that was stored by then.
func (h *topicHistory) checkReads() {
	for _, op := range h.ops {
		switch {
		case op.Kind == history.OpBrowse && op.Outcome == history.OK && !op.Final:
			h.checkBrowse(op)
		case op.Kind == history.OpGet && (op.Outcome == history.OK || op.Code == "message_not_found"):
			h.checkGet(op)
		}
	}
}

// placeOf is the place of the first message with that sequence or a higher one.
func (h *topicHistory) placeOf(sequence uint64) int {
	return sort.Search(len(h.log), func(i int) bool { return h.log[i].sequence >= sequence })
}

func (h *topicHistory) checkBrowse(op *history.Op) {
	h.count(checkReplay, len(op.Got))
	place := h.placeOf(op.From)
	for _, m := range op.Got {
		if place == len(h.log) || h.log[place].data != m.Data {
			h.violated(checkReplay, []*history.Op{op, h.replay}, "%s was read where the topic has something else at the end", m.Data)
			return
		}
		place++
	}
	h.count(checkStale, 1)
	if stable := h.stableBefore(op.Call); len(op.Got) < op.Limit && place <= stable {
		h.violated(checkStale, []*history.Op{h.log[place].proof, h.log[stable].proof, op}, "%s was stored, and was not read", h.log[place].data)
	}
}

func (h *topicHistory) checkGet(op *history.Op) {
	h.count(checkReplay, 1)
	place := h.placeOf(op.From)
	there := place < len(h.log) && h.log[place].sequence == op.From
	switch {
	case op.Outcome == history.OK && (!there || h.log[place].data != op.Got[0].Data):
		h.violated(checkReplay, []*history.Op{op, h.replay}, "%s was read at %d, where the topic has something else at the end", op.Got[0].Data, op.From)
	case op.Outcome != history.OK && there && place <= h.stableBefore(op.Call):
		h.violated(checkStale, []*history.Op{h.log[place].proof, op}, "%s was stored, and was not read", h.log[place].data)
	}
}
