package check

import "dq/cmd/dq/verify/history"

// checkLog checks what is in the topic at the end against what was sent.
func (h *topicHistory) checkLog() {
	for data, s := range h.sends {
		h.count(checkLost, 1)
		if _, found := h.index[data]; !found && s.success != nil {
			h.violated(checkLost, proof{s.success, h.replay},
				"%s was answered with success, and is not in the topic", data)
		}
	}

	stored := make([]event, 0, len(h.log))
	for i := range h.log {
		e := &h.log[i]
		h.count(checkPhantom, 1)
		if e.send == nil {
			h.violated(checkPhantom, proof{h.replay}, "%s was never sent to this topic, and is in it", e.data)
			continue
		}
		if e.send.refused {
			h.violated(checkPhantom, append(proof{h.replay}, e.send.ops...),
				"%s was refused, and is in the topic", e.data)
		}
		stored = append(stored, event{index: i, op: e.proof, call: e.call, ret: e.stored})
	}

	h.count(checkDuplicate, len(h.log))
	h.count(checkOrder, len(stored))
	if a, b, found := findSwapped(stored); found {
		early, late := h.log[a.index], h.log[b.index]
		h.violated(checkOrder, proof{early.send.ops[0], b.op, h.replay},
			"%s is before %s in the topic, and was sent when that was already stored", early.data, late.data)
	}
}

// reportStoredTwice reports a message that is in the topic for a second time.
func (h *topicHistory) reportStoredTwice(m history.Message, first uint64) {
	check, ops := checkDuplicate, proof{h.replay}
	if s := h.sends[m.Data]; s != nil {
		ops = append(ops, s.ops...)
		if s.ops[0].Key != "" {
			check = checkIdempotent
		}
	}
	h.violated(check, ops, "%s is in the topic twice, at %d and %d", m.Data, first, m.Sequence)
}

// findSwapped searches events, listed in the order in which they must have
// happened, for two that happened the other way round: a is before b in the list,
// and began after b had ended.
func findSwapped(events []event) (a, b event, found bool) {
	if len(events) == 0 {
		return a, b, false
	}
	latest := events[0] // the event that began last, of those so far
	for _, e := range events[1:] {
		if e.ret < latest.call {
			return latest, e, true
		}
		if e.call > latest.call {
			latest = e
		}
	}
	return a, b, false
}

// checkBatches checks that the messages of a batch are in its order, and that an
// atomic batch is stored as a whole, with nothing in between, or not at all.
func (h *topicHistory) checkBatches() {
	for _, op := range h.ops {
		if op.Kind != history.OpAppend || len(op.Data) < 2 || op.Key != "" {
			continue
		}

		var stored []int // indexes in the log
		for _, data := range op.Data {
			if index, found := h.index[data]; found {
				stored = append(stored, index)
			}
		}
		if op.Atomic {
			h.checkAtomicBatch(op, stored)
			continue
		}

		h.count(checkOrder, 1)
		for i := 1; i < len(stored) && op.Delay == 0; i++ { // delayed messages have no order
			if stored[i] < stored[i-1] {
				h.violated(checkOrder, proof{op, h.replay}, "the messages of a batch are not in its order")
			}
		}
	}
}

// checkAtomicBatch checks the indexes of an atomic batch of which any message is
// stored. That none is stored is for the check of lost messages.
func (h *topicHistory) checkAtomicBatch(op *history.Op, stored []int) {
	h.count(checkAtomic, 1)
	if len(stored) == 0 {
		return
	}
	if len(stored) < len(op.Data) {
		h.violated(checkAtomic, proof{op, h.replay},
			"%d of the %d messages of an atomic batch are in the topic", len(stored), len(op.Data))
		return
	}

	for i := 1; i < len(stored); i++ {
		if stored[i] != stored[i-1]+1 {
			h.violated(checkAtomic, proof{op, h.replay},
				"the messages of an atomic batch do not follow each other in the topic")
			return
		}
	}
}
