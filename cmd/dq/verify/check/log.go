package check

import "dq/cmd/dq/verify/history"

// checkLog checks what is in the topic at the end against what was sent.
func (h *topicHistory) checkLog() {
	for data, s := range h.sends {
		h.count(checkLost, 1)
		if _, there := h.at[data]; !there && s.ok != history.Never {
			h.violated(checkLost, []*history.Op{s.okOp, h.replay}, "%s was answered with success, and is not in the topic", data)
		}
	}
	places := make([]take, 0, len(h.log))
	for i := range h.log {
		e := &h.log[i]
		h.count(checkPhantom, 1)
		switch {
		case e.send == nil:
			h.violated(checkPhantom, []*history.Op{h.replay}, "%s was never sent to this topic, and is in it", e.data)
			continue
		case e.send.refused:
			h.violated(checkPhantom, append(e.send.ops, h.replay), "%s was refused, and is in the topic", e.data)
		}
		places = append(places, take{place: i, op: e.proof, call: e.call, ret: e.stable})
	}
	h.count(checkOrder, len(places))
	if a, b := swapped(places); a != nil {
		h.violated(checkOrder, []*history.Op{h.log[a.place].send.ops[0], b.op, h.replay},
			"%s is before %s in the topic, and was sent when that was already stored", h.log[a.place].data, h.log[b.place].data)
	}
	h.count(checkDuplicate, len(h.log))
}

// stored tells of a message that is in the topic for a second time.
func (h *topicHistory) stored(m history.Message, first uint64) {
	check, ops := checkDuplicate, []*history.Op{h.replay}
	if s := h.sends[m.Data]; s != nil {
		ops = append(ops, s.ops...)
		if s.ops[0].Key != "" {
			check = checkIdempotent
		}
	}
	h.violated(check, ops, "%s is in the topic twice, at %d and %d", m.Data, first, m.Sequence)
}

// swapped looks in takes, which are in the order in which they are said to have
// happened, for one that began only after a later one had ended.
func swapped(takes []take) (early, late *take) {
	var latest *take
	for i := range takes {
		t := &takes[i]
		if latest != nil && t.ret < latest.call {
			return latest, t
		}
		if latest == nil || t.call > latest.call {
			latest = t
		}
	}
	return nil, nil
}

// checkBatches checks that the messages of a batch are in its order, and that an
// atomic batch is there as a whole, with nothing in between, or not at all.
func (h *topicHistory) checkBatches() {
	for _, op := range h.ops {
		if op.Kind != history.OpAppend || len(op.Data) < 2 || op.Key != "" {
			continue
		}
		var places []int
		for _, data := range op.Data {
			if place, there := h.at[data]; there {
				places = append(places, place)
			}
		}
		if !op.Atomic {
			h.count(checkOrder, 1)
			for i := 1; i < len(places); i++ {
				if places[i] < places[i-1] {
					h.violated(checkOrder, []*history.Op{op, h.replay}, "the messages of a batch are not in its order")
				}
			}
			continue
		}
		h.count(checkAtomic, 1)
		last := len(places) - 1
		switch {
		case len(places) == 0: // a lost one is told elsewhere
		case len(places) < len(op.Data):
			h.violated(checkAtomic, []*history.Op{op, h.replay}, "%d of the %d messages of an atomic batch are in the topic", len(places), len(op.Data))
		case places[last]-places[0] != last || places[last] < places[0]:
			h.violated(checkAtomic, []*history.Op{op, h.replay}, "the messages of an atomic batch are not one behind the other in the topic")
		}
	}
}

// checkKeys checks the receipts: the sequences, and what they say of messages
// that were sent again.
func (h *topicHistory) checkKeys() {
	for data, s := range h.sends {
		if s.ops[0].Key != "" {
			h.count(checkIdempotent, 1)
		}
		for _, op := range s.ops {
			if op.Kind != history.OpAppend || op.Outcome != history.OK {
				continue
			}
			place, there := h.at[data]
			receipt := op.Receipt[indexOf(op.Data, data)]
			if there && receipt.Sequence != h.log[place].sequence {
				h.violated(checkReplay, []*history.Op{op, h.replay}, "the receipt of %s says sequence %d, and it is at %d", data, receipt.Sequence, h.log[place].sequence)
			}
			if again := s.ok < op.Call; again && !receipt.Duplicate {
				h.violated(checkIdempotent, []*history.Op{s.okOp, op}, "%s was stored, and its second receipt does not call it a duplicate", data)
			} else if receipt.Duplicate && len(s.ops) == 1 {
				h.violated(checkIdempotent, []*history.Op{op}, "%s was sent once, and its receipt calls it a duplicate", data)
			}
		}
	}
}

func indexOf(list []string, text string) int {
	for i := range list {
		if list[i] == text {
			return i
		}
	}
	return -1
}
